// Loaded into Pi by tools.py: a tool that returns at once, and a clock around every tool call, inside of Pi.

const tool = {
	name: "in_pi",
	label: "in_pi",
	description: "Returns at once",
	parameters: { type: "object", properties: { text: { type: "string" } }, required: ["text"] },
	async execute(_id, { text }) {
		return { content: [{ type: "text", text }] };
	},
};

export default function (pi) {
	let began = 0;
	const took = { in_pi: [], in_python: [] };

	pi.registerTool(tool);
	pi.on("tool_execution_start", () => {
		began = performance.now();
	});
	pi.on("tool_execution_end", (event) => {
		took[event.toolName]?.push(performance.now() - began);
	});
	pi.on("agent_end", (_event, ctx) => {
		ctx.ui.notify(JSON.stringify(took));
		for (const name of Object.keys(took)) took[name] = [];
	});
}
