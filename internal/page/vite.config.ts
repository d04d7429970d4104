// Builds the page: `npm run page` into dist/page, and deploy/local/page.ts for whatever runs here.
import { fileURLToPath } from "node:url";
import { defineConfig } from "vite";
import { messages } from "./messages.ts";

export default defineConfig({
  root: fileURLToPath(new URL(".", import.meta.url)),
  // Addresses relative to the page, so that it works below any path of any host.
  base: "./",
  build: {
    outDir: fileURLToPath(new URL("../../dist/page", import.meta.url)),
    emptyOutDir: true,
    // No election id has an underscore: this is nobody's log.
    assetsDir: "_page",
    assetsInlineLimit: 0,
    // Browsers that have these features have them; the polyfill is an inline script, which the policy forbids.
    modulePreload: { polyfill: false },
    reportCompressedSize: false,
    rolldownOptions: {
      // How long which plugin took is no warning.
      checks: { pluginTimings: false },
      // Any other is a module of Node's that got in, or an import that is not there.
      onLog: (level, log) => {
        if (level === "warn") throw new Error(log.message);
      },
    },
  },
  worker: { format: "es" },
  plugins: [
    {
      name: "messages",
      // The words that are there without scripts come from the one file of words, too.
      transformIndexHtml: {
        order: "pre",
        handler: (html) =>
          html.replace('lang="en"', `lang="${messages.lang}"`).replace(/%(\w+)%/g, (_, key: string) => {
            const message = Object.entries(messages).find(([name]) => name === key)?.[1];
            if (typeof message !== "string") throw new Error(`there is no message ${key}`);
            return message;
          }),
      },
    },
  ],
});
