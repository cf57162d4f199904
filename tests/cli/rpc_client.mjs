// Pi's own RpcClient drives what `cliPath` starts, and says what came of it.
import { pathToFileURL } from "node:url";

const [packageFolder, cliPath] = process.argv.slice(2);
const { RpcClient } = await import(pathToFileURL(`${packageFolder}/dist/modes/rpc/rpc-client.js`));
const client = new RpcClient({ cliPath, provider: "scripted", model: "scripted-1", args: ["--no-session"] });
const types = {};
client.onEvent((event) => {
	types[event.type] = (types[event.type] ?? 0) + 1;
});
await client.start();
const before = await client.getState();
const events = await client.promptAndWait("hi");
const text = await client.getLastAssistantText();
const bash = await client.bash("echo $((6 * 7))");
const stats = await client.getSessionStats();
let refused = "";
try {
	await client.setModel("nobody", "nothing");
} catch (error) {
	refused = error.message;
}
await client.stop();
console.log(JSON.stringify({ session: before.sessionId, text, bash: bash.output.trim(), types, events: events.length, stats: !!stats, refused }));
