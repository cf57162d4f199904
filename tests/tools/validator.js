// Pi's own validator (TypeBox), asked line by line: {schema, value} in, true or false out. Given: Pi's package folder.
import { createRequire } from "node:module";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { pathToFileURL } from "node:url";

const require = createRequire(pathToFileURL(join(process.argv[2], "package.json")));
const { Compile } = await import(pathToFileURL(require.resolve("typebox/compile")));

for await (const line of createInterface({ input: process.stdin })) {
	const { schema, value } = JSON.parse(line);
	console.log(Compile(schema).Check(value));
}
