import { describe } from "vitest";
import { containerConformance } from "./container-conformance.ts";

describe("a container by way of the engine", () => containerConformance("engine"));
