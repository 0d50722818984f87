import type { Capability } from "./capability.ts";
import { editFile } from "./edit-file.ts";
import { exec } from "./exec.ts";
import { explainPolicy } from "./explain-policy.ts";
import { exportFiles } from "./export-files.ts";
import { exposePort } from "./expose-port.ts";
import { importFiles } from "./import-files.ts";
import { installPackage } from "./install-package.ts";
import { listDirectory } from "./list-directory.ts";
import { listProcesses, readProcess, stopProcess, writeProcess } from "./process.ts";
import { readFile } from "./read-file.ts";
import { searchFiles } from "./search-files.ts";
import { closeSession, listSessions, openSession, resetSession, sessionStatus } from "./session.ts";
import { shell } from "./shell.ts";
import { deleteSnapshot, forkSession, restoreSession, snapshotSession } from "./snapshot.ts";
import { writeFile } from "./write-file.ts";

/** Every capability, in the order in which the tools are listed. */
export const CAPABILITIES: readonly Capability[] = [
  exec,
  shell,
  readProcess,
  writeProcess,
  stopProcess,
  listProcesses,
  readFile,
  writeFile,
  editFile,
  listDirectory,
  searchFiles,
  installPackage,
  importFiles,
  exportFiles,
  openSession,
  closeSession,
  listSessions,
  sessionStatus,
  resetSession,
  snapshotSession,
  restoreSession,
  forkSession,
  deleteSnapshot,
  exposePort,
  explainPolicy,
];

export function findCapability(name: string): Capability | undefined {
  return CAPABILITIES.find((it) => it.name === name);
}
