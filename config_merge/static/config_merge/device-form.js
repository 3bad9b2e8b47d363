// The device form: offers the templates that fit organization and backend, checks the automatic ones of a new device,
// and shows what saving would do before it is done.
"use strict";

document.addEventListener("DOMContentLoaded", () => {
    const head = document.querySelector("[data-device-form]");
    const form = document.getElementById("device_form");
    const select = document.getElementById("id_config_templates");
    if (!head || !form || !select) {
        return;
    }
    const field = (name) => form.querySelector(`#id_${name}`);
    const isNew = "new" in head.dataset;
    const before = {organization: field("organization")?.value || "", group: field("group")?.value || ""};
    let own = [];
    let automatic = [];
    let asked = 0;

    const option = ({id, name, badges, locked}) => {
        const made = new Option(name, id);
        made.dataset.name = name;
        made.dataset.badges = badges.map(([text, tone]) => `${text}:${tone}`).join("|");
        if (locked) {
            made.dataset.locked = "";
        }
        return made;
    };

    const fill = (answer) => {
        const options = new Map(answer.templates.map((each) => [each.id, option(each)]));
        const chosen = [...select.options].filter((each) => each.selected).map((each) => each.value);
        const moved = (field("organization")?.value || "") !== before.organization;
        own = chosen.filter((id) => !automatic.includes(id));
        automatic = answer.automatic.filter((id) => options.has(id));
        const required = automatic.filter((id) => "locked" in options.get(id).dataset);
        let wanted = [...required.filter((id) => !chosen.includes(id)), ...chosen];
        if (isNew) {
            wanted = [...automatic, ...own];
        } else if (moved) {
            // A device that moves gets the templates of where it goes, whatever is chosen here.
            wanted = automatic;
        }
        wanted = [...new Set(wanted)].filter((id) => options.has(id));
        wanted.forEach((id) => {
            options.get(id).selected = true;
        });
        const rest = [...options].filter(([id]) => !wanted.includes(id)).map(([, each]) => each);
        select.replaceChildren(...wanted.map((id) => options.get(id)), ...rest);
        const complete = field("config_templates_complete");
        if (isNew && complete) {
            complete.value = "on";
        }
        select.dispatchEvent(new Event("ordered:refresh"));
        select.dispatchEvent(new Event("change", {bubbles: true}));
    };

    const reload = async () => {
        const organization = field("organization")?.value;
        if (!organization) {
            return;
        }
        const number = ++asked;
        const query = new URLSearchParams({
            organization,
            backend: field("config_backend")?.value || "",
            group: field("group")?.value || "",
        });
        try {
            const answer = await fetch(`${head.dataset.templatesUrl}?${query}`, {redirect: "error"});
            if (answer.ok && number === asked) {
                fill(await answer.json());
            }
        } catch {
            // The list stays as it is; the server checks it again when the form is saved.
        }
    };

    ["organization", "config_backend"].forEach((name) => field(name)?.addEventListener("change", reload));
    if (isNew) {
        field("group")?.addEventListener("change", reload);
        if (!form.querySelector(".errorlist, .errornote")) {
            reload();
        }
    }

    const dialog = document.querySelector("[data-preview-dialog]");
    const body = dialog.querySelector("[data-preview-body]");
    const button = document.createElement("button");
    button.type = "button";
    button.className = "mu-button mu-preview__button";
    button.textContent = "Preview";
    button.addEventListener("click", async () => {
        button.disabled = true;
        body.textContent = "Computing…";
        dialog.showModal();
        try {
            const answer = await fetch(head.dataset.previewUrl, {method: "POST", body: new FormData(form), redirect: "error"});
            if (answer.ok || answer.status === 400) {
                body.innerHTML = await answer.text();
            } else {
                body.textContent = `The preview failed (${answer.status}).`;
            }
        } catch {
            body.textContent = "The controller cannot be reached.";
        }
        button.disabled = false;
    });
    const save = document.querySelector("#submit-row [name=_save]");
    save?.parentElement.append(button);
});
