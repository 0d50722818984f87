import { GatewayError } from "../errors.ts";

/** For an organisation's own image: says which program it lacks, instead of that a program is not there. */
export function missingProgram(name: string, from: string): (error: unknown) => never {
  return (error) => {
    if (!(error instanceof GatewayError && error.code === "PROGRAM_NOT_FOUND")) throw error;
    const message = `the sandbox's image has no \`${name}\`, which this tool needs (${from})`;
    throw new GatewayError("PROGRAM_NOT_FOUND", message, { cause: error });
  };
}
