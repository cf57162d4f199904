// What a program that starts `node cli.js --mode rpc` is given instead of cli.js.
const { spawn } = require("node:child_process");
const [python, url] = [process.env.ATTACH_PYTHON, process.env.ATTACH_URL];
const child = spawn(python, ["-m", "pi_trio", "attach", url, ...process.argv.slice(2)], { stdio: "inherit" });
for (const name of ["SIGTERM", "SIGINT"]) process.on(name, () => child.kill(name));
child.on("exit", (code, signal) => process.exit(code ?? 1));
