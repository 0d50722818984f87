/**
 * Which commands do what their words say. Names decide: this list makes scripts opaque, it is no list of what is harmless.
 * Whoever permits a program by name permits all that it can do: an interpreter, an editor or `git -c` runs more than its own words.
 */

/** ASCII alone: a homoglyph of `ls` is no `ls`. Not `%1` (a job), not `a=b` (an assignment). */
const PROGRAM = /^(?::|[A-Za-z0-9_./][A-Za-z0-9_./+@-]*)$/;

/** Bash's own words, from `compgen -k`; as programs' names they are too odd to be meant, quoted or not. */
const RESERVED =
  "if then else elif fi case esac for select while until do done in function time { } ! [[ ]] coproc".split(" ");

/**
 * Builtins (`compgen -b` of bash 5.2 and what 5.3 adds) that evaluate text, define what later words mean, change how bash goes on, or
 * assign variables: `read PATH` and `test -v 'a[$(id)]'` are as good as `eval`.
 */
const BUILTINS =
  `. [ alias bg bind break builtin caller command compgen complete compopt continue declare dirs disown enable eval exec
  export fc fg getopts hash help history jobs let local logout mapfile popd pushd read readarray readonly return set shift shopt source
  suspend test times trap typeset ulimit umask unalias unset wait`.split(/\s+/);

/** What is left of the builtins. */
const PLAIN_BUILTINS = ": cd echo exit false kill printf pwd true type".split(" ");

/** Programs whose work is to run another one that their arguments, or their input, name; by the last part of their path. */
const WRAPPERS = `env nohup timeout sudo sudoedit doas su runuser run0 pkexec gosu su-exec setpriv capsh
  nice ionice chrt taskset numactl stdbuf unbuffer setsid setarch linux32 linux64 i386 x86_64 prlimit chpst envdir softlimit
  xargs parallel sem watch entr time strace ltrace gdb perf valgrind chroot unshare nsenter bwrap firejail fakeroot proot faketime
  busybox toybox sh bash rbash dash ash zsh ksh mksh ksh93 csh tcsh fish yash pwsh nu elvish xonsh
  ssh sshpass rsh mosh script scriptreplay expect flock systemd-run dbus-run-session xvfb-run start-stop-daemon daemonize
  at batch crontab run-parts tmux screen dtach nc ncat netcat socat direnv dotenv tini dumb-init
  sg newgrp runcon cgexec choom cpulimit eatmydata torsocks torify proxychains proxychains4 logsave rlwrap ssh-agent chronic ifne pee mispipe`.split(
  /\s+/,
);

/** The loader runs the program that it is given: `/lib64/ld-linux-x86-64.so.2 /bin/sh`. */
const LOADER = /^ld(?:-[\w.-]+)?\.so(?:\.\d+)*$/;

/** Options with which programs that otherwise only look run others, or write. Long options of GNU programs may be cut short. */
const RUNS_BY_OPTION: ReadonlyMap<string, RegExp> = new Map([
  ["find", /^-(?:exec|ok|delete|fprint|fls)/],
  ["fd", /^(?:-[A-Za-z0-9]*[xX]|--exec)/],
  ["fdfind", /^(?:-[A-Za-z0-9]*[xX]|--exec)/],
  ["sort", /^--co/],
  ["rg", /^--(?:pre|hostname-bin)/],
]);

/** `%n` assigns to the variable that it is given, e.g. PATH, and `-v` to whatever it is given: formats of plain conversions alone. */
const PRINTF_FORMAT = /^(?!-)(?:[^%]|%%|%[-+ #0-9.]*[sdiouxXbcq])*$/;

const OPAQUE_NAMES = new Set([...RESERVED, ...BUILTINS]);
const OPAQUE_PROGRAMS = new Set(WRAPPERS);

/** Whether these commands, run by bash one after the other, are all that runs, and are what their names say. */
export function areSimple(commands: readonly (readonly string[])[]): boolean {
  const moves = commands.some(([name]) => name === "cd");
  return commands.every((argv) => isSimple(argv) && !(moves && isRelative(argv)));
}

/** Whether a program, by the last part of its path, is a shell or another whose work is to run what its arguments or its input name. */
export function runsOthers(program: string): boolean {
  return OPAQUE_PROGRAMS.has(program) || LOADER.test(program);
}

/** Whether bash answers by itself to the name of a simple command: a program of that name, if there is one, may differ. */
export function isPlainBuiltin(name: string): boolean {
  return PLAIN_BUILTINS.includes(name);
}

function isSimple([name = "", ...args]: readonly string[]): boolean {
  const program = name.slice(name.lastIndexOf("/") + 1);
  if (!PROGRAM.test(name) || OPAQUE_NAMES.has(name)) return false;
  if (program === "" || runsOthers(program)) return false;
  if (name === "printf") return PRINTF_FORMAT.test(args[0] ?? "");
  const runs = RUNS_BY_OPTION.get(program);
  return !runs || !args.some((it) => runs.test(it));
}

/** After `cd`, `./build` is another program than policy knows by the call's directory. */
function isRelative([name = ""]: readonly string[]): boolean {
  return name.includes("/") && !name.startsWith("/");
}
