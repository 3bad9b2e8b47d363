// Variables as rows of name and value. The text area stays the truth: rows are read from it and written back to it.
// Beside them stand the system's variables, with a mark on each that an own one overrules.
"use strict";

(() => {
    const WAIT = 300;
    const MARK = /^redacted:[0-9a-f]{12}$/;
    const made = (tag, name, text = "") => {
        const element = document.createElement(tag);
        element.className = name;
        element.textContent = text;
        return element;
    };
    const button = (text, act, label = "") => {
        const element = made("button", "mu-button mu-button--small", text);
        element.type = "button";
        if (label) {
            element.setAttribute("aria-label", label);
        }
        element.addEventListener("click", act);
        return element;
    };
    const input = (value, label) => {
        const element = made("input", "mu-input mu-variables__input");
        element.type = "text";
        element.value = value;
        element.spellcheck = false;
        element.autocomplete = "off";
        element.setAttribute("aria-label", label);
        return element;
    };
    const shown = (value) => (typeof value === "string" ? value : JSON.stringify(value));
    const parsed = (text) => {
        try {
            const value = JSON.parse(text.trim() || "{}");
            return value !== null && typeof value === "object" && !Array.isArray(value) ? value : null;
        } catch {
            return null;
        }
    };

    const equip = (box) => {
        const area = box.querySelector("textarea");
        const own = box.querySelector(".mu-variables__own");
        const system = box.querySelector("[data-variables-system]");
        const rows = made("div", "mu-variables__rows");
        const bar = made("div", "mu-variables__bar");
        const problem = made("p", "mu-variables__problem");
        let asJson = false;
        let variables = [];
        problem.setAttribute("role", "status");

        const lines = () => [...rows.children].filter((line) => line.matches(".mu-variables__row"));

        const write = () => {
            const result = {};
            const names = [];
            lines().forEach((line) => {
                const [name, value] = line.querySelectorAll("input");
                if (!name.value.trim() && !value.value) {
                    return;
                }
                names.push(name.value.trim());
                // A value nobody touched keeps its kind; what one types is a text, as every value becomes one.
                result[name.value.trim()] = value.value === line.dataset.shown ? JSON.parse(line.dataset.value) : value.value;
            });
            const twice = names.find((name, index) => names.indexOf(name) !== index);
            const odd = names.find((name) => !/^\w+$/.test(name));
            problem.textContent =
                twice !== undefined
                    ? `“${twice}” stands here twice; the last one counts.`
                    : odd !== undefined
                      ? `“${odd}” cannot be used as {{ ${odd} }}: letters, digits and _ only.`
                      : "";
            area.value = JSON.stringify(result, null, 2);
            compare();
        };

        const row = (name, value) => {
            const line = made("div", "mu-variables__row");
            const note = made("span", "mu-variables__note");
            line.dataset.shown = shown(value);
            line.dataset.value = JSON.stringify(value);
            const [key, text] = [input(name, "Name"), input(shown(value), `Value of ${name || "the new variable"}`)];
            key.classList.add("mu-variables__name");
            [key, text].forEach((field) => field.addEventListener("input", write));
            const away = button("✕", () => {
                line.remove();
                write();
            }, `Remove ${name || "the new variable"}`);
            line.append(key, text, away, note);
            return line;
        };

        const read = () => {
            const value = parsed(area.value);
            if (value === null) {
                return false;
            }
            rows.replaceChildren(...Object.entries(value).map(([name, each]) => row(name, each)));
            compare();
            return true;
        };

        const compare = () => {
            const mine = parsed(area.value) || {};
            lines().forEach((line) => {
                const name = line.querySelector("input").value.trim();
                const other = variables.find((variable) => variable.variable === name);
                const note = line.querySelector(".mu-variables__note");
                line.classList.toggle("mu-variables__row--over", Boolean(other));
                note.textContent = other ? `overrides ${other.title} ${other.name}: ${other.value}` : "";
                line.querySelectorAll("input")[1].classList.toggle("mu-variables__input--secret", MARK.test(line.querySelectorAll("input")[1].value));
            });
            system?.querySelectorAll("[data-variable]").forEach((line) => {
                const over = Object.hasOwn(mine, line.dataset.variable);
                line.classList.toggle("mu-sys--over", over);
                line.querySelector(".mu-sys__over").hidden = !over;
            });
        };

        const origin = ({layer, title, name, link}) => {
            const badge = made(link ? "a" : "span", `mu-origin mu-origin--${layer}`);
            badge.append(made("b", "", title), ` ${name}`);
            if (link) {
                badge.href = link;
            }
            return badge;
        };

        const draw = () => {
            const items = variables.map((variable) => {
                const line = made("div", "mu-sys");
                const head = made("div", "mu-sys__head");
                const over = made("span", "mu-badge mu-badge--success mu-sys__over", "overridden here");
                line.dataset.variable = variable.variable;
                head.append(made("code", "mu-sys__name", variable.variable), over);
                line.append(head, made("code", "mu-sys__value", variable.value), origin(variable));
                variable.shadowed.forEach((each) => {
                    const shadow = made("div", "mu-shadow");
                    shadow.append(made("s", "", each.value), origin(each));
                    line.append(shadow);
                });
                return line;
            });
            const none = made("p", "mu-muted", "Choose an organization to see them.");
            system.replaceChildren(system.querySelector("h3"), ...(items.length ? items : [none]));
            compare();
        };

        let waiting = 0;
        let asked = 0;
        const refresh = () => {
            if (!system) {
                return;
            }
            window.clearTimeout(waiting);
            waiting = window.setTimeout(async () => {
                const number = ++asked;
                const field = (name) => document.getElementById(`id_${name}`)?.value || "";
                const query = new URLSearchParams({
                    device: box.dataset.device,
                    organization: field("organization"),
                    group: field("group"),
                    name: field("name"),
                    mac_address: field("mac_address"),
                });
                document.querySelectorAll("#id_config_templates option:checked").forEach((option) => query.append("templates", option.value));
                let found = [];
                if (field("organization")) {
                    try {
                        const answer = await fetch(`${box.dataset.systemUrl}?${query}`, {redirect: "error"});
                        found = answer.ok ? (await answer.json()).variables : [];
                    } catch {
                        return;
                    }
                }
                if (number === asked) {
                    variables = found;
                    draw();
                }
            }, WAIT);
        };

        const add = button("Add a variable", () => {
            const line = row("", "");
            rows.append(line);
            line.querySelector("input").focus();
        });
        const mode = button("Edit as JSON", () => {
            if (asJson && !read()) {
                problem.textContent = "This is not a JSON object; mend it before you go back to the rows.";
                return;
            }
            asJson = !asJson;
            problem.textContent = "";
            show();
        });
        const show = () => {
            area.hidden = !asJson;
            rows.hidden = add.hidden = asJson;
            mode.textContent = asJson ? "Edit as rows" : "Edit as JSON";
        };

        bar.append(add, mode);
        own.append(rows, problem, bar);
        asJson = !read();
        show();
        area.addEventListener("input", () => (asJson ? compare() : undefined));
        area.addEventListener("muster:replaced", read);
        document.addEventListener("change", (event) => {
            if (event.target.matches("#id_organization, #id_group, #id_config_templates, #id_name, #id_mac_address")) {
                refresh();
            }
        });
        refresh();
    };

    document.addEventListener("DOMContentLoaded", () => {
        document.querySelectorAll("[data-variables]").forEach(equip);
    });
})();
