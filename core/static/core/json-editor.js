// Turns a JSON text area into an editor with line numbers and markers, which says while one types what is wrong.
//
// The text area stays the field that is submitted: without this script, or where the editor cannot load, it is used as
// it is. What a text area may carry:
//   data-bundle          the editor's module
//   data-schema          address of the JSON schema; "{}" in it is replaced by the value of the field named in
//   data-schema-by       (an id), whose change loads the other one
//   data-check           address that is asked, a moment after the last key, what the server says; gets the fields
//   data-check-fields    named here (ids), and answers {"errors": [{"path", "message"}]}. Writes nothing.
import {lineOf, placeOf, places, tokens} from "./json-places.js";
import {complaints} from "./json-schema.js";
import {SNIPPETS, inserted} from "./json-snippets.js";

const PAUSE = 450;
const MOST_SHOWN = 12;
const MENU = new Set(["format", "search", "undo", "redo"]);

const element = (tag, className = "", text = "") => {
    const made = document.createElement(tag);
    made.className = className;
    made.textContent = text;
    return made;
};

const parsed = (text) => {
    if (!text.trim()) {
        return {value: {}, error: ""};
    }
    try {
        const value = JSON.parse(text);
        const isObject = value !== null && typeof value === "object" && !Array.isArray(value);
        return {value, error: isObject ? "" : "This is JSON, but not an object: it must start with {."};
    } catch (error) {
        return {value: null, error: error.message};
    }
};

const schemas = new Map();
const schemaAt = (address) => {
    if (!schemas.has(address)) {
        const answer = fetch(address, {headers: {Accept: "application/json"}, redirect: "error"});
        schemas.set(address, answer.then((found) => (found.ok ? found.json() : null)).catch(() => null));
    }
    return schemas.get(address);
};

class Field {
    constructor(area) {
        this.area = area;
        this.editor = null;
        this.schema = null;
        this.verdict = null;
        this.asked = 0;
        this.build();
        area.addEventListener("input", () => this.typed());
        this.selector = document.getElementById(area.dataset.schemaBy ?? "");
        // Select2 tells of a change by jQuery alone, so both ways are listened to.
        this.selector?.addEventListener("change", () => this.fetchSchema());
        (area.dataset.checkFields ?? "").split(" ").filter(Boolean).forEach((id) => {
            const other = document.getElementById(id);
            if (other && other !== area) {
                other.addEventListener(other.tagName === "SELECT" ? "change" : "input", () => this.askSoon());
            }
        });
        this.look();
        this.fetchSchema();
        this.load();
    }

    build() {
        const {area} = this;
        this.state = element("div", "mu-json-state");
        this.words = element("span");
        this.words.setAttribute("role", "status");
        this.tidy = element("button", "mu-button mu-button--small", "Tidy up");
        this.tidy.type = "button";
        this.tidy.addEventListener("click", () => this.write(JSON.stringify(parsed(area.value).value, null, 2)));
        const tools = element("div", "mu-json-tools");
        if (area.dataset.schema) {
            tools.append(this.snippets());
        }
        tools.append(this.tidy);
        this.state.append(this.words, tools);
        this.list = element("ul", "mu-json-problems");
        this.list.setAttribute("aria-label", "Problems");
        this.answer = element("p", "mu-json-answer");
        this.answer.setAttribute("role", "status");
        area.after(this.state, this.list, this.answer);
        this.answer.hidden = !area.dataset.check;
        area.setAttribute("aria-describedby", [area.getAttribute("aria-describedby") ?? "", this.describe()].join(" ").trim());
    }

    describe() {
        this.words.id = `${this.area.id}_state`;
        return this.words.id;
    }

    snippets() {
        this.menu = element("select", "mu-json-insert");
        this.menu.setAttribute("aria-label", "Insert a NetJSON object");
        this.menu.append(new Option("Insert…", ""), ...SNIPPETS.map(([name], index) => new Option(name, String(index))));
        this.menu.addEventListener("change", () => {
            const snippet = SNIPPETS[Number(this.menu.value)];
            this.menu.value = "";
            const {value, error} = parsed(this.area.value);
            if (snippet && !error) {
                const [result, pointer] = inserted(value, snippet);
                this.write(JSON.stringify(result, null, 2));
                this.jump(pointer);
            }
        });
        return this.menu;
    }

    async load() {
        const {area} = this;
        if (!area.dataset.bundle || area.readOnly || area.disabled) {
            return;
        }
        let module;
        try {
            module = await import(area.dataset.bundle);
        } catch {
            return;
        }
        this.host = element("div", "mu-json-host");
        area.before(this.host);
        this.editor = module.createJSONEditor({
            target: this.host,
            props: {
                content: {text: area.value},
                mode: "text",
                indentation: 2,
                tabSize: 2,
                askToFormat: false,
                statusBar: true,
                navigationBar: false,
                ariaLabel: area.labels?.[0]?.textContent.trim() ?? area.name,
                validator: () => this.markers(),
                onRenderMenu: (items) => items.filter((item) => MENU.has((item.className ?? "").replace("jse-", ""))),
                onChange: (content) => this.changed(content),
            },
        });
        area.classList.add("mu-json--behind");
        area.tabIndex = -1;
        area.setAttribute("aria-hidden", "true");
        area.labels?.forEach((label) => label.addEventListener("click", (event) => {
            event.preventDefault();
            this.editor.focus();
        }));
        const content = this.host.querySelector(".cm-content");
        content?.setAttribute("aria-label", `${area.labels?.[0]?.textContent.trim() ?? area.name} (JSON; Escape, then Tab leaves the editor)`);
        content?.setAttribute("aria-describedby", this.words.id);
        // It tells of changes after a pause; whoever leaves it or submits wants the last key too.
        this.host.addEventListener("focusout", () => this.editor.validate());
        window.addEventListener("submit", () => this.editor.validate(), true);
        this.fit();
        this.mark();
    }

    // From the editor into the field.
    changed(content) {
        const text = content.text ?? JSON.stringify(content.json, null, 2);
        if (text !== this.area.value) {
            this.area.value = text;
            this.own = true;
            this.area.dispatchEvent(new Event("input", {bubbles: true}));
            this.area.dispatchEvent(new Event("change", {bubbles: true}));
            this.own = false;
        }
    }

    // From a button or another script into both.
    write(text) {
        this.area.value = text;
        this.area.dispatchEvent(new Event("input", {bubbles: true}));
    }

    typed() {
        if (this.editor && !this.own) {
            this.editor.set({text: this.area.value});
        }
        this.look();
        this.fit();
    }

    fit() {
        if (this.host && !this.host.style.height.endsWith("vh")) {
            const lines = Math.min(Math.max(this.area.value.split("\n").length, 6), 30);
            this.host.style.height = `${lines * 18.6 + 92}px`;
        }
    }

    async fetchSchema() {
        const pattern = this.area.dataset.schema;
        if (!pattern) {
            return;
        }
        const named = this.selector?.value ?? "";
        this.schema = named || !pattern.includes("{}") ? await schemaAt(pattern.replace("{}", encodeURIComponent(named))) : null;
        if ((this.selector?.value ?? "") === named) {
            this.look();
        }
    }

    look() {
        const {area} = this;
        this.verdict = null;
        this.read = parsed(area.value);
        this.found = !this.read.error && this.schema ? complaints(this.schema, this.read.value) : [];
        this.tidy.disabled = Boolean(this.read.error) || !area.value.trim();
        if (this.menu) {
            this.menu.disabled = Boolean(this.read.error);
        }
        this.show();
        this.askSoon();
    }

    // The server is the one who decides: what it accepts is not complained of.
    problems() {
        if (this.read.error) {
            return [];
        }
        if (!this.verdict) {
            return this.found;
        }
        const refused = this.verdict.map(({path, message}) => ({pointer: path.replace(/^#/, ""), message, server: true}));
        if (!refused.length) {
            return [];
        }
        // Where both complain of one place, the words from here are the shorter ones.
        const known = new Set(this.found.map(({pointer}) => pointer));
        return [...refused.filter(({pointer}) => !known.has(pointer)), ...this.found];
    }

    show() {
        const {area} = this;
        const problems = this.problems();
        const bad = Boolean(this.read.error) || problems.length > 0;
        const checked = this.schema || this.verdict;
        if (this.read.error) {
            this.words.textContent = this.read.error;
        } else if (problems.length) {
            this.words.textContent = `Valid JSON with ${problems.length} problem${problems.length === 1 ? "" : "s"}`;
        } else if (area.value.trim()) {
            this.words.textContent = checked ? "Valid JSON, nothing to complain of" : "Valid JSON";
        } else {
            this.words.textContent = "Empty, the same as {}";
        }
        this.state.classList.toggle("mu-json-state--bad", bad);
        this.state.classList.toggle("mu-json-state--good", !bad && Boolean(area.value.trim()));
        area.setAttribute("aria-invalid", bad ? "true" : "false");
        this.place = !this.read.error && area.value.trim() ? places(area.value) : new Map();
        this.list.replaceChildren(...problems.slice(0, MOST_SHOWN).map((problem) => this.item(problem)));
        if (problems.length > MOST_SHOWN) {
            this.list.append(element("li", "mu-muted", `and ${problems.length - MOST_SHOWN} more`));
        }
        this.mark();
    }

    item({pointer, message, server}) {
        const line = element("li");
        const jump = element("button", "mu-json-problem", "");
        const where = lineOf(this.area.value, placeOf(this.place, pointer).from);
        jump.type = "button";
        jump.append(element("b", "", `Line ${where}`), element("code", "", pointer || "whole configuration"), element("span", "", message));
        if (server) {
            jump.append(element("i", "", "says the server"));
        }
        jump.addEventListener("click", () => this.jump(pointer));
        line.append(jump);
        return line;
    }

    markers() {
        return this.problems().map(({pointer, message}) => {
            const path = tokens(pointer);
            // A marker needs a value that is there.
            while (path.length && !this.place.has(`/${path.map((token) => token.replaceAll("~", "~0").replaceAll("/", "~1")).join("/")}`)) {
                path.pop();
            }
            return {path, message, severity: "error"};
        });
    }

    mark() {
        // A new function makes the editor ask again; the old text has been judged already.
        this.editor?.updateProps({validator: () => this.markers()});
    }

    jump(pointer) {
        const {from, to} = placeOf(places(this.area.value), pointer);
        if (this.editor) {
            this.editor.select({type: "text", ranges: [{anchor: from, head: to}], main: 0});
            this.editor.focus();
        } else {
            this.area.focus();
            this.area.setSelectionRange(from, to);
        }
    }

    askSoon() {
        window.clearTimeout(this.timer);
        this.asked += 1;
        if (!this.area.dataset.check) {
            return;
        }
        if (this.read.error || !this.area.value.trim()) {
            this.answer.textContent = "";
            return;
        }
        this.timer = window.setTimeout(() => this.ask(this.asked), PAUSE);
    }

    async ask(number) {
        const body = new FormData();
        (this.area.dataset.checkFields ?? "").split(" ").filter(Boolean).forEach((id) => {
            const other = document.getElementById(id);
            if (other) {
                body.set(other.name, other.value);
            }
        });
        const token = this.area.form?.elements.csrfmiddlewaretoken?.value ?? "";
        let said;
        try {
            const answer = await fetch(this.area.dataset.check, {
                method: "POST", body, redirect: "error", headers: {"X-CSRFToken": token, Accept: "application/json"},
            });
            said = answer.ok ? await answer.json() : null;
        } catch {
            said = null;
        }
        if (number !== this.asked) {
            return;
        }
        this.verdict = said?.errors ?? null;
        this.answer.classList.toggle("mu-json-answer--bad", Boolean(said?.errors.length));
        if (!said) {
            this.answer.textContent = "The server could not be asked; it checks again when you save.";
        } else if (said.errors.length) {
            this.answer.textContent = "The server would refuse this.";
        } else {
            this.answer.textContent = said.message ?? "The server would accept this.";
        }
        this.show();
    }
}

const dark = () => document.documentElement.classList.contains("dark");
const dress = () => document.documentElement.classList.toggle("mu-jse-dark", dark());

const start = () => {
    const areas = document.querySelectorAll("textarea.mu-json");
    areas.forEach((area) => new Field(area));
    dress();
    new MutationObserver(() => {
        if (document.documentElement.classList.contains("mu-jse-dark") !== dark()) {
            dress();
        }
    }).observe(document.documentElement, {attributes: true, attributeFilter: ["class"]});
};

if (document.readyState === "loading") {
    document.addEventListener("DOMContentLoaded", start);
} else {
    start();
}
