// A command that opens dialogs, and says what came of them.

export default function (pi) {
	pi.registerCommand("ask", {
		description: "Open dialogs",
		handler: async (args, ctx) => {
			const answers = [
				await ctx.ui.select("Which?", ["one", "two"]),
				await ctx.ui.confirm("Sure?", "There is no way back."),
				await ctx.ui.input("Your name", "as you like it"),
			];
			const said = answers.map((answer) => JSON.stringify(answer ?? null)).join(", ");
			ctx.ui.notify(`${args}: ${said}`, "info");
		},
	});
}
