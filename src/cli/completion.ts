// culvert complete: what the shells ask while somebody types. Commands, options and choices are those of the program;
// names are the running node's. Our own, as the library at hand (@bomb.sh/tab) completes no files in bash, needs another
// package there and evaluates what was typed.

import type { Argument, Command, Option } from "commander";
import { readPage } from "../admin/admin-client.ts";
import type { NamesReport } from "../telemetry/reports.ts";
import { findSocket } from "./find-socket.ts";
import { say } from "./output.ts";

const shells = {
  bash: `# bash completion for culvert
_culvert() {
  local IFS=$'\\n' kind answer
  answer=$(culvert complete -- "\${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null) || return
  kind=\${answer%%$'\\n'*}
  [[ $kind == files ]] && return
  compopt +o default 2>/dev/null
  COMPREPLY=($(printf '%s' "\${answer#*$'\\n'}"))
}
complete -o default -F _culvert culvert`,
  zsh: `#compdef culvert
_culvert() {
  local -a answer
  answer=("\${(@f)$(culvert complete -- "\${(@)words[2,CURRENT]}" 2>/dev/null)}")
  if [[ $answer[1] == files ]]; then _files; else compadd -- "\${(@)answer[2,-1]}"; fi
}
if [[ $funcstack[1] == _culvert ]]; then _culvert "$@"; else compdef _culvert culvert; fi`,
} as const;

export function addCompletion(program: Command): void {
  program
    .command("complete")
    .description("Print the completion script of a shell, for it to read.")
    .argument("<shell>", Object.keys(shells).join(" or "))
    .argument("[words...]", "after --: what was typed so far; answered with what may follow")
    .addHelpText(
      "after",
      `
Examples:
  source <(culvert complete bash)                            # this shell
  culvert complete bash > /etc/bash_completion.d/culvert     # every one
  culvert complete zsh > "\${fpath[1]}/_culvert"`,
    )
    .action(async (first: string, rest: readonly string[], _options: unknown, command: Command) => {
      if (command.parent?.args[0] === "complete" && process.argv[3] === "--") {
        const candidates = complete(program, [first, ...rest], await namesOf());
        say(candidates === "files" ? "files" : ["words", ...candidates].join("\n"));
        return;
      }
      const script = shells[first as keyof typeof shells];
      if (script === undefined)
        command.error(`error: ${first} is no shell known here; known are ${Object.keys(shells).join(" and ")}`);
      say(script);
    });
}

/** What may stand in the place of the last word, which may be empty. */
export function complete(program: Command, words: readonly string[], names: NamesReport): "files" | readonly string[] {
  const typed = words.at(-1) ?? "";
  let command = program;
  let position = 0;
  let awaiting: Option | undefined;
  for (const word of words.slice(0, -1)) {
    if (awaiting !== undefined) awaiting = undefined;
    else if (word.startsWith("-"))
      awaiting = command.options.find((it) => (it.short === word || it.long === word) && it.required);
    else {
      const child = command.commands.find((it) => it.name() === word);
      if (child === undefined) position++;
      else [command, position] = [child, 0];
    }
  }
  const found = candidatesFor(command, position, awaiting, typed, names);
  return found === "files" ? found : found.filter((it) => it.startsWith(typed));
}

function candidatesFor(
  command: Command,
  position: number,
  awaiting: Option | undefined,
  typed: string,
  names: NamesReport,
): "files" | readonly string[] {
  if (awaiting !== undefined) return values(awaiting, names);
  const help = command.createHelp();
  if (typed.startsWith("-")) return help.visibleOptions(command).flatMap(({ long }) => long ?? []);
  if (command.commands.length > 0) return help.visibleCommands(command).map((it) => it.name());
  const argument = command.registeredArguments[position];
  return argument === undefined ? [] : values(argument, names);
}

function values(place: Option | Argument, names: NamesReport): "files" | readonly string[] {
  if (place.argChoices !== undefined) return place.argChoices;
  const [kind, called] = "flags" in place ? [/<(.*)>/.exec(place.flags)?.[1], place.long] : [place.name(), undefined];
  if (kind === "file" || kind === "path" || kind === "directory") return "files";
  if (kind === "workload" || called === "--pod") return names.workloads.map(short);
  if (kind === "destination") return names.destinations.map(short);
  return called === "--service" || (called === undefined && kind === "name") ? names.services.map(short) : [];
}

function short(name: string): string {
  return name.replace(/^default\//, "");
}

/** Completion says nothing of what is wrong: then there are no names. */
async function namesOf(): Promise<NamesReport> {
  try {
    return await readPage<NamesReport>(findSocket(undefined), "/names");
  } catch {
    return { workloads: [], services: [], destinations: [] };
  }
}
