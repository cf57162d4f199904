// Loaded into Pi with `-e`: gives it the tools that the Python program at the other end of the pipe has.
//
// Everything goes over Pi's dialogs, which in RPC mode are records on stdout (`extension_ui_request`) and
// answers on stdin (`extension_ui_response`). Titles and keys that begin with "pi-trio:" are never shown to
// anybody; host.py is the other end of each:
//
// - "pi-trio:tools" asks for the tools, and says which were taken, in which session: {version, refused,
//   session}. It is answered with {version, tools} as soon as there is another list than that version, and then asks again.
// - "pi-trio:call" is one call: {key, id, tool, arguments, written}, answered with {update} or, in the end, with
//   {content, details} or {error}. Behind an update it asks again, with {key} alone. What the model has written is there
//   when Pi made something else of it, to fit the schema.
// - the status "pi-trio:abort" says that Pi aborted the calls with these keys. No answer is expected: each call
//   itself is answered when the Python function has unwound.
// - the status "pi-trio:over" says that Pi has taken what came of the call with that key.

import { randomUUID } from "node:crypto";

// How long an abort waits for the function to unwind: less than a client that leaves a run waits for Pi.
const UNWIND_MS = 4000;

export default function (pi) {
	const stale = new AbortController(); // this instance of the extension: another session gets another
	const ours = new Set(); // the names of the tools that are on offer
	let offered; // settled when the first list is in
	let aborted = []; // keys of calls that Pi is aborting right now
	let written = new Map(); // JSON of the arguments of the last message's calls, by their ids, as the model wrote them

	pi.on("session_start", (_event, ctx) => {
		// Not to be waited for: Pi reads its stdin only when every handler has returned.
		offered ??= new Promise((resolve) => {
			void follow(ctx.ui, ctx.sessionManager.getSessionId(), resolve).catch(() => {}).finally(resolve);
		});
	});

	pi.on("before_agent_start", () => offered);

	pi.on("message_end", ({ message }) => {
		if (message.role !== "assistant") return;
		const calls = message.content.filter((part) => part.type === "toolCall");
		written = new Map(calls.map((call) => [call.id, JSON.stringify(call.arguments)]));
	});

	pi.on("session_shutdown", () => stale.abort());

	async function follow(ui, session, taken) {
		let known = { version: 0, refused: {}, session };
		for (;;) {
			const answer = await ui.input("pi-trio:tools", JSON.stringify(known), { signal: stale.signal });
			if (answer === undefined || stale.signal.aborted) return;
			const { version, tools } = JSON.parse(answer);
			known = { version, refused: take(tools), session };
			taken();
		}
	}

	// Offer these tools and no others of ours; returns why some of them could not be, by name.
	function take(tools) {
		const names = new Set(tools.map((tool) => tool.name));
		const gone = [...ours].filter((name) => !names.has(name));
		const refused = {};
		for (const tool of tools) {
			try {
				pi.registerTool({ ...tool, label: tool.name, execute: (...call) => execute(tool.name, ...call) });
			} catch (error) {
				refused[tool.name] = String(error?.message ?? error);
			}
		}
		// A tool that came back after it had been taken away is not active by itself.
		const active = pi.getActiveTools().filter((name) => !gone.includes(name));
		pi.setActiveTools([...new Set([...active, ...names])]);
		const accepted = new Set(pi.getActiveTools());
		for (const name of names) {
			if (!accepted.has(name)) refused[name] ??= "Pi was told to use certain tools only";
		}
		ours.clear();
		for (const name of names) ours.add(name);
		return refused;
	}

	// What is aborted together is told together: the end of one call must not be the turn of another that is aborted, too.
	function tellAborted(ui, key) {
		aborted.push(key);
		if (aborted.length > 1) return;
		queueMicrotask(() => {
			ui.setStatus("pi-trio:abort", aborted.join(" "));
			aborted = [];
		});
	}

	async function execute(tool, id, args, signal, onUpdate, ctx) {
		if (signal?.aborted) throw new Error(`${tool} was cancelled: Pi aborted it`);
		const { ui } = ctx; // ctx itself is of no use any more when the session is replaced meanwhile
		const key = randomUUID();
		const ended = new AbortController();
		const gaveUp = new Promise((_, reject) => {
			const abort = () => {
				tellAborted(ui, key);
				const late = new Error(`${tool} was aborted, but has not ended yet`);
				const timer = setTimeout(() => reject(late), UNWIND_MS);
				ended.signal.addEventListener("abort", () => clearTimeout(timer));
			};
			signal?.addEventListener("abort", abort, { once: true, signal: ended.signal });
		});
		try {
			const original = written.get(id);
			const same = original === undefined || original === JSON.stringify(args);
			let ask = { key, id, tool, arguments: args, ...(same ? {} : { written: JSON.parse(original) }) };
			for (;;) {
				const answer = await Promise.race([ui.input("pi-trio:call", JSON.stringify(ask)), gaveUp]);
				if (answer === undefined) throw new Error(`${tool} is not there any more`);
				const { update, error, ...result } = JSON.parse(answer);
				if (error !== undefined) throw new Error(error);
				if (update === undefined) return result;
				onUpdate?.(update);
				ask = { key };
			}
		} finally {
			ended.abort();
			setImmediate(() => ui.setStatus("pi-trio:over", key)); // behind Pi's own events about it
		}
	}
}
