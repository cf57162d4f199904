// The same with Pi's own RpcClient: node rpc_client.mjs PLAN
import fs from "node:fs";
const plan = JSON.parse(process.argv[2]);
const { RpcClient } = await import(plan.package + "/dist/modes/rpc/rpc-client.js");
const client = new RpcClient({ cliPath: plan.argv[1], cwd: plan.cwd, env: plan.env, args: ["--no-session"] });
await client.start();
client.bash(plan.command).catch(() => {});
const timer = setInterval(() => {
  if (fs.existsSync(plan.tool)) {
    clearInterval(timer);
    console.log(client.process.pid);
  }
}, 10);
setInterval(() => {}, 1000);
