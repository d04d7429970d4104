// `npm run generate`: makes anew, of proto/, all that is generated and committed.
import { fileURLToPath } from "node:url";
import { GENERATED } from "./generated.ts";

const root = fileURLToPath(new URL("..", import.meta.url));
for (const { name, path, generate } of GENERATED) {
  try {
    await generate(root, { progress: (message) => console.error(message) });
    console.log(`${path}`);
  } catch (error) {
    console.error(
      `${path} is not generated (${name}): ${error instanceof Error ? error.message : String(error)}`,
    );
    process.exitCode = 1;
  }
}
