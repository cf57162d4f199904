// Loaded into a Pi whose spec says `branching=True`. RPC mode has no command that moves within the tree of a session,
// but the command of an extension can. pi_trio/client/branches.py prompts it as `/pi-trio-branch <JSON>`, and takes
// what came of it from the placeholder of a dialog: a prompt that an extension handles has no other answer.

const NAME = "pi-trio-branch";

async function perform(pi, ctx, { to, name, summarize, instructions }) {
	if (to !== undefined) {
		const { cancelled } = await ctx.navigateTree(to, { summarize, customInstructions: instructions });
		if (cancelled) throw new Error("an extension refused to move, or the summary was aborted");
	}
	if (name !== undefined) {
		// An entry of its own, which the model does not see: the branch is there before anything was said on it.
		pi.appendEntry(NAME, { name });
		pi.setLabel(ctx.sessionManager.getLeafId(), name);
	}
	return { leafId: ctx.sessionManager.getLeafId() };
}

export default function (pi) {
	pi.registerCommand(NAME, {
		description: "Moves within the tree of the session, for the program that runs this Pi",
		handler: async (args, ctx) => {
			const asked = JSON.parse(args);
			let reply;
			try {
				reply = await perform(pi, ctx, asked);
			} catch (error) {
				reply = { error: error instanceof Error ? error.message : String(error) };
			}
			await ctx.ui.input(NAME, JSON.stringify({ ...reply, id: asked.id }));
		},
	});
}
