import { render } from "preact";
import { App } from "./app.tsx";
import "./style.css";

const root = document.getElementById("app");
if (!root) throw new Error("index.html has no #app");
// What was there for browsers without scripts.
root.replaceChildren();
render(<App base={new URL(".", location.href.split("#")[0]).href} />, root);
