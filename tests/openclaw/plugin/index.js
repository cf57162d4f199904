// The catalog "pi", as OpenClaw's own plugin (@openclaw/acpx) offers it: that one cannot be had from npm. What is listed
// are the session files of real Pis in $PI_TRIO_SESSIONS; of those that begin with "seen", it lets nobody go on.

import fs from "node:fs";
import path from "node:path";

const HOST = "gateway:local";
const PAGE = 2;

const folder = () => process.env.PI_TRIO_SESSIONS ?? "/nowhere";

function entriesOf(threadId) {
  const file = fs.readdirSync(folder()).find((name) => name.endsWith(`_${threadId}.jsonl`));
  if (!file) throw new Error(`there is no session ${threadId}`);
  const lines = fs.readFileSync(path.join(folder(), file), "utf8").split("\n");
  return lines.filter(Boolean).map((line) => JSON.parse(line));
}

// The gateway's own session that goes on with it: it bears its name.
function sessionOf(threadId, entries, agentId) {
  const found = entries?.entriesForAgent(agentId ?? "main").find(({ entry }) => entry.displayName === threadId);
  return found ? { sessionKey: found.sessionKey } : {};
}

function row(name, { sessionEntries, agentId }) {
  const threadId = name.slice(name.indexOf("_") + 1, -".jsonl".length);
  const [header] = entriesOf(threadId);
  const canContinue = !name.startsWith("seen");
  const about = { threadId, cwd: header.cwd, status: "idle", source: "pi-cli", modelProvider: "pi" };
  return { ...about, archived: false, canContinue, canArchive: false, ...sessionOf(threadId, sessionEntries, agentId) };
}

function list(params) {
  const names = fs.existsSync(folder()) ? fs.readdirSync(folder()).filter((name) => name.endsWith(".jsonl")).sort() : [];
  const from = Number(params.cursors?.[HOST] ?? 0);
  const sessions = names.slice(from, from + PAGE).map((name) => row(name, params));
  const next = from + PAGE < names.length ? { nextCursor: String(from + PAGE) } : {};
  return [{ hostId: HOST, label: "this machine", kind: "gateway", connected: true, sessions, ...next }];
}

const TYPES = { user: "userMessage", assistant: "agentMessage" };

function items(threadId) {
  const messages = entriesOf(threadId).filter((entry) => entry.type === "message" && entry.message.role in TYPES);
  return messages.reverse().map(({ id, message }) => ({
    id,
    type: TYPES[message.role],
    text: typeof message.content === "string" ? message.content : message.content.map((block) => block.text ?? "").join(""),
  }));
}

export default {
  id: "pi-sessions",
  name: "Pi sessions",
  description: "The sessions of Pi in a folder",
  register(api) {
    api.registerSessionCatalog({
      id: "pi",
      label: "Pi",
      supportsProcessHomeIsolation: true,
      list: async (params) => list(params),
      read: async ({ hostId, threadId }) => ({ hostId, threadId, items: items(threadId) }),
      copyToGatewaySession: async ({ threadId }) => ({ displayName: threadId }),
    });
  },
};
