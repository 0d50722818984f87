import { mkdirSync, readdirSync } from "node:fs";
import type { Bodies } from "../../src/audit/bodies/bodies.ts";
import { type BodyPlaces, bodyPlaces } from "../../src/audit/bodies/places.ts";
import { createRoom } from "../../src/audit/bodies/room.ts";
import { type BodyStoreOptions, openBodyStore } from "../../src/audit/bodies/store.ts";
import { GatewayError } from "../../src/errors.ts";

/** For policies that have no bodies kept. */
export const NO_BODIES: Bodies = {
  keep: async () => {
    throw new GatewayError("INTERNAL", "a body was to be kept");
  },
};

export interface TestBodies {
  readonly places: BodyPlaces;
  readonly bodies: Bodies;
}

/** Bodies below a data directory. */
export function testBodies(data: string, options: Partial<BodyStoreOptions> = {}): TestBodies {
  const places = bodyPlaces(data);
  mkdirSync(places.directory, { recursive: true, mode: 0o700 });
  return { places, bodies: openBodyStore({ places, room: createRoom(places), ...options }) };
}

/** Names of all files below a directory, but that of the lock. */
export function filesBelow(directory: string): string[] {
  return readdirSync(directory, { recursive: true, withFileTypes: true })
    .filter((it) => it.isFile() && it.name !== ".lock")
    .map((it) => `${it.parentPath}/${it.name}`.slice(directory.length + 1))
    .sort();
}
