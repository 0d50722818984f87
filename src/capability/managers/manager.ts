import type { InstallScripts } from "../install-scripts.ts";

/** A package to install. Name and version have been read by `Naming`. */
export interface Wanted {
  readonly name: string;
  /** Exactly; absent when it is the package manager's to choose, of what its registry shows. */
  readonly version?: string;
}

export interface Order {
  readonly packages: readonly Wanted[];
  /** The project: absolute, normalised, and there. */
  readonly directory: string;
  /** For the user and not the project. */
  readonly global: boolean;
  /** Where the sandbox's programs find the registry: absolute, with a slash at the end. */
  readonly registry: string;
  /** Of the packages of which the profile lets programs run at installation. */
  readonly installScripts: InstallScripts;
}

/** The sandbox's files. Links are refused (PATH_IS_LINK), never followed. */
export interface Place {
  has(path: string): Promise<boolean>;
  read(path: string): Promise<string>;
  write(path: string, content: string): Promise<void>;
}

/** A program to run in the project's directory: no shell. */
export interface Step {
  readonly argv: readonly [string, ...string[]];
  /** What an image gets the program from, for people. */
  readonly from: string;
  /** There is another way, should it fail. */
  readonly mayFail?: true;
}

/**
 * How one package manager is told to install. A step is asked for when the one before has ended, and told whether it has succeeded, which
 * all must that don't say otherwise. What is answered in the end is for the reader: where things are.
 */
export interface Manager {
  /** It can install for the user. */
  readonly global: boolean;
  /** It is given the version that policy permits even if the call names none. */
  readonly exact: boolean;
  /** @throws GatewayError INVALID_ARGUMENTS when the directory is no project of this ecosystem */
  steps(order: Order, place: Place): AsyncGenerator<Step, string | undefined, boolean>;
}
