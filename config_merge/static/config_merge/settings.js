// The editor of settings: collects what is changed, key by key, and sends only that. The page holds no secret: one that
// is not edited stands as its mark, which the server takes for the stored one.
"use strict";

document.addEventListener("DOMContentLoaded", () => {
    const form = document.querySelector("form[data-settings]");
    if (!form) {
        return;
    }
    const part = (name) => form.querySelector(`[data-settings-${name}]`);
    const json = (id) => JSON.parse(document.getElementById(id).textContent);
    const isDevice = form.dataset.level === "device";
    const FIRST_OF_SITE = 1_000_000_001;
    const ROOTS = {ssid: "wireless", user: "users", lan: "network"};
    const changes = new Map();
    const rows = () => [...form.querySelectorAll("[data-setting]")];
    const rowOf = (key) => form.querySelector(`[data-setting="${CSS.escape(key)}"]`);
    const sectionOf = (row) => row.closest("[data-section]");
    const inputOf = (row) => row.querySelector("[data-value]");
    const entityOf = (key) => key.match(/^[^/]+\/(?:0|[1-9][0-9]*)\//)?.[0] ?? "";
    const newOrigin = () => (isDevice ? "device" : "site");

    // --- what is changed ----------------------------------------------------------------------------------------------

    const say = (text) => {
        form.querySelectorAll("[data-settings-state]").forEach((place) => {
            place.textContent = text;
        });
    };

    const keep = () => {
        part("changes").value = changes.size ? JSON.stringify(Object.fromEntries(changes)) : "";
        const count = changes.size;
        say(count ? `${count} change${count === 1 ? "" : "s"} not saved yet` : "No changes");
        for (const name of ["discard", "save"]) {
            const place = part(name);
            if (place) {
                place.hidden = !count;
            }
        }
        // The panel's result is that of other changes.
        form.dispatchEvent(new Event("input"));
    };

    const said = (row) => {
        const input = inputOf(row);
        return input.value || !input.dataset.mark ? input.value : input.dataset.mark;
    };

    const mark = (row) => {
        const change = changes.get(row.dataset.setting);
        const isGone = changes.has(row.dataset.setting) && (change === null || change.value === null);
        row.classList.toggle("mu-set__row--changed", changes.has(row.dataset.setting));
        row.classList.toggle("mu-set__row--going", isGone);
    };

    const set = (key, change) => {
        changes.set(key, change);
        const row = rowOf(key);
        if (row) {
            mark(row);
        }
    };

    const unset = (key) => {
        changes.delete(key);
        const row = rowOf(key);
        if (row) {
            mark(row);
        }
    };

    const originOf = (row) => row.dataset.origin || (isDevice ? "site-device" : "site");

    const edited = (row) => {
        const input = inputOf(row);
        const isSame = input.dataset.mark !== undefined
            ? input.value === "" || input.value === input.dataset.revealed
            : input.value === input.dataset.was;
        const key = row.dataset.setting;
        if (isSame && !("pinned" in row.dataset) && !("fresh" in row.dataset)) {
            unset(key);
        } else {
            set(key, {value: said(row), origin: originOf(row)});
        }
    };

    const locked = (row) => isDevice && !row.dataset.origin && !("pinned" in row.dataset) && !("fresh" in row.dataset);

    const unlock = () => {
        rows().forEach((row) => {
            const input = inputOf(row);
            if (!("fixed" in form.dataset) && !("list" in input.dataset)) {
                input.disabled = locked(row) || ("going" in row.dataset);
            }
        });
    };

    const pin = (row) => {
        row.dataset.pinned = "";
        set(row.dataset.setting, {value: said(row), origin: "site-device"});
    };

    const undone = (row) => {
        delete row.dataset.pinned;
        delete row.dataset.going;
        const input = inputOf(row);
        input.value = input.dataset.mark !== undefined ? "" : input.dataset.was;
        unset(row.dataset.setting);
    };

    const undo = (button, targets, key) => {
        button.dataset.settingsUndo = button.textContent;
        button.textContent = "Undo";
        button.undo = () => {
            targets.forEach(undone);
            unset(key);
            button.closest("[data-section]")?.classList.remove("mu-set--going");
            button.textContent = button.dataset.settingsUndo;
            delete button.dataset.settingsUndo;
        };
    };

    const going = (button, targets, key, change) => {
        targets.forEach((row) => {
            undone(row);
            row.dataset.going = "";
        });
        set(key, change);
        undo(button, targets, key);
    };

    const act = (button) => {
        const section = button.closest("[data-section]");
        const row = button.closest("[data-setting]");
        const isWhole = !row;
        const targets = isWhole ? [...section.querySelectorAll("[data-setting]")] : [row];
        const key = isWhole ? section.dataset.section : row.dataset.setting;
        if (button.dataset.settingsUndo !== undefined) {
            button.undo();
        } else if (button.dataset.settingsDo === "override") {
            // An entity is overridden whole.
            const all = row && "entity" in section.dataset ? [...section.querySelectorAll("[data-setting]")] : targets;
            all.forEach(pin);
            undo(button, all, key);
            unlock();
            inputOf(targets[0]).focus();
        } else {
            const change = button.dataset.settingsDo === "suppress" ? {value: null, origin: "device"} : null;
            going(button, targets, key, change);
            section.classList.toggle("mu-set--going", isWhole);
        }
        unlock();
        keep();
        check();
    };

    // --- new settings and entities --------------------------------------------------------------------------------------

    const fresh = (key, value, origin) => {
        const row = document.createElement("div");
        row.className = "mu-row mu-set__row";
        Object.assign(row.dataset, {setting: key, origin, source: "", fresh: "", search: `${key} ${value}`.toLowerCase()});
        const label = document.createElement("label");
        label.className = "mu-row__key";
        label.textContent = key;
        label.htmlFor = `set-${key}`;
        const place = document.createElement("div");
        place.className = "mu-row__value";
        const input = document.createElement("input");
        Object.assign(input, {id: `set-${key}`, className: "mu-input mu-input--code", value, autocomplete: "off"});
        Object.assign(input.dataset, {value: "", was: value});
        const error = document.createElement("p");
        Object.assign(error, {className: "mu-set__error", hidden: true});
        error.dataset.settingsError = "";
        place.append(input, error);
        const tools = document.createElement("div");
        tools.className = "mu-row__origin";
        const button = document.createElement("button");
        Object.assign(button, {type: "button", className: "mu-button mu-button--small", textContent: "Discard"});
        button.addEventListener("click", () => {
            changes.delete(key);
            row.remove();
            keep();
            check();
        });
        tools.append(button);
        row.append(label, place, tools);
        part("added").append(row);
        set(key, {value, origin});
        return input;
    };

    const add = (key, value, origin = newOrigin()) => {
        const row = rowOf(key);
        if (!row) {
            return fresh(key, value, origin);
        }
        const input = inputOf(row);
        if (locked(row)) {
            pin(row);
        }
        delete row.dataset.going;
        input.value = value;
        edited(row);
        unlock();
        return input;
    };

    const crc32 = (text) => {
        let crc = 0xffffffff;
        for (const letter of text) {
            crc ^= letter.charCodeAt(0) & 0xff;
            for (let bit = 0; bit < 8; bit += 1) {
                crc = crc & 1 ? (crc >>> 1) ^ 0xedb88320 : crc >>> 1;
            }
        }
        return (crc ^ 0xffffffff) >>> 0;
    };

    const nextNumber = (root) => {
        const first = isDevice ? 1 : FIRST_OF_SITE;
        const keys = [...rows().map((row) => row.dataset.setting), ...changes.keys()];
        keys.push(...[...form.querySelectorAll("[data-entity]")].map((each) => each.dataset.section));
        const numbers = keys
            .map((key) => entityOf(key))
            .filter((entity) => entity.startsWith(`${root}/`))
            .map((entity) => Number(entity.split("/")[1]))
            .filter((number) => isDevice === number < FIRST_OF_SITE - 1);
        return Math.max(first - 1, ...numbers) + 1;
    };

    const addEntity = (kind) => {
        const fields = json("settings-forms")[kind] ?? {};
        const root = ROOTS[kind] ?? kind;
        let number = nextNumber(root);
        if (root === "users") {
            // A login's number is the CRC-32 of its name.
            const name = window.prompt("Name of the login");
            if (!name) {
                return;
            }
            number = crc32(name);
            fields.name = name;
        }
        set(`${root}/${number}/`, {value: String(number), origin: newOrigin()});
        const inputs = Object.entries(fields).map(([name, value]) => add(`${root}/${number}/${name}`, String(value)));
        (inputs.find((input) => !input.value) ?? inputs[0])?.focus();
        keep();
        check();
    };

    // --- what the server says of it ---------------------------------------------------------------------------------------

    const showErrors = (errors) => {
        form.querySelectorAll("[data-settings-error]").forEach((place) => {
            place.hidden = true;
        });
        const homeless = [];
        Object.entries(errors).forEach(([key, text]) => {
            const row = rowOf(key) ?? form.querySelector(`[data-setting^="${CSS.escape(key)}"]`);
            const place = row?.querySelector("[data-settings-error]");
            if (place) {
                place.textContent = text;
                place.hidden = false;
            } else if (key) {
                homeless.push(`${key}: ${text}`);
            }
        });
        if (homeless.length) {
            say(homeless.join("; "));
        }
    };

    let timer = 0;
    let asked = 0;
    const check = () => {
        window.clearTimeout(timer);
        timer = window.setTimeout(async () => {
            asked += 1;
            const mine = asked;
            try {
                const answer = await fetch(form.dataset.check, {method: "POST", body: new FormData(form), redirect: "error"});
                if (answer.ok && mine === asked) {
                    showErrors((await answer.json()).errors);
                }
            } catch {
                // Saving will tell.
            }
        }, 400);
    };

    // --- finding ------------------------------------------------------------------------------------------------------------

    const find = () => {
        const words = part("search").value.toLowerCase().split(/\s+/).filter(Boolean);
        const isOwn = part("own")?.checked ?? false;
        let left = 0;
        rows().forEach((row) => {
            const fits = words.every((word) => row.dataset.search.includes(word)) && (!isOwn || row.dataset.origin !== "");
            row.hidden = !fits && !changes.has(row.dataset.setting);
            left += row.hidden ? 0 : 1;
        });
        form.querySelectorAll("[data-section], [data-settings-root]").forEach((place) => {
            place.hidden = (words.length > 0 || isOwn) && !place.querySelector("[data-setting]:not([hidden])");
        });
        part("none").hidden = left > 0 || rows().length === 0;
    };

    // --- wiring ---------------------------------------------------------------------------------------------------------------

    rows().forEach((row) => {
        const input = inputOf(row);
        if (input.disabled) {
            input.dataset.list = "";
        }
    });
    part("base").value = document.getElementById("settings-base").textContent;
    part("search").addEventListener("input", (event) => {
        event.stopPropagation();
        find();
    });
    part("own")?.addEventListener("change", find);
    form.addEventListener("input", (event) => {
        if (event.target.matches?.("[data-value]")) {
            edited(event.target.closest("[data-setting]"));
            keep();
            check();
        }
    });
    form.addEventListener("click", (event) => {
        const button = event.target.closest("button[data-settings-do]");
        if (button) {
            act(button);
        }
    });
    part("discard")?.addEventListener("click", () => window.location.assign(window.location.pathname));
    const addOne = () => {
        const key = part("key").value.trim();
        if (!key) {
            part("key").focus();
            return;
        }
        add(key, part("value").value);
        part("key").value = part("value").value = "";
        part("key").focus();
        keep();
        check();
    };
    part("add")?.addEventListener("click", addOne);
    for (const name of ["key", "value"]) {
        part(name)?.addEventListener("keydown", (event) => {
            if (event.key === "Enter") {
                event.preventDefault();
                addOne();
            }
        });
    }
    part("kind")?.addEventListener("change", (event) => {
        part("entity").textContent = `Add ${event.target.value}`;
    });
    part("entity")?.addEventListener("click", () => addEntity(part("kind").value));
    part("start")?.addEventListener("click", () => {
        Object.entries(json("settings-starting")).forEach(([key, {value, origin}]) => {
            if (key.endsWith("/")) {
                set(key, {value, origin});
            } else {
                add(key, value, origin);
            }
        });
        part("first").hidden = true;
        keep();
        check();
    });

    // What a page that was not saved had changed.
    const pending = part("changes").value.trim();
    if (pending) {
        try {
            Object.entries(JSON.parse(pending)).forEach(([key, change]) => {
                const row = rowOf(key);
                if (row && change && change.value !== null) {
                    if (locked(row)) {
                        pin(row);
                    }
                    const isMark = /^redacted:[0-9a-f]{12}$/.test(change.value);
                    inputOf(row).value = isMark ? "" : change.value;
                    set(key, change);
                } else if (row || change === null || change.value === null || key.endsWith("/")) {
                    if (row) {
                        row.dataset.going = "";
                    }
                    set(key, change);
                } else {
                    fresh(key, change.value, change.origin ?? newOrigin());
                }
            });
            if (part("first")) {
                part("first").hidden = true;
            }
        } catch {
            part("changes").value = "";
        }
    }
    unlock();
    keep();
    showErrors(json("settings-errors"));
});
