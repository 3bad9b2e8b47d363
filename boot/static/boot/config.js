// Says while one types how many bytes of a boot configuration are left. The server's word counts; this is the same sum.
"use strict";

document.addEventListener("DOMContentLoaded", () => {
    const panel = document.querySelector("[data-boot-size]");
    const form = document.querySelector("#bootconfig_form");
    const field = (name) => form?.elements.namedItem(name);
    if (!panel || !form || !field("bootcode")) {
        return;
    }
    const text = panel.querySelector("[data-boot-size-text]");
    const bar = panel.querySelector("[data-boot-size-bar]");
    const limit = Number(panel.dataset.limit);
    const encoder = new TextEncoder();

    // As it is stored: sorted keys do not matter for the length, blanks after commas and colons and escapes do.
    const lengthOf = (value) => {
        if (Array.isArray(value)) {
            return 2 + value.reduce((sum, item) => sum + lengthOf(item), 0) + 2 * Math.max(value.length - 1, 0);
        }
        if (value !== null && typeof value === "object") {
            const entries = Object.entries(value);
            const inside = entries.reduce((sum, [key, item]) => sum + lengthOf(key) + 2 + lengthOf(item), 0);
            return 2 + inside + 2 * Math.max(entries.length - 1, 0);
        }
        const plain = JSON.stringify(value);
        return [...plain].reduce((sum, letter) => sum + (letter.codePointAt(0) < 127 ? 1 : 6 * letter.length), 0);
    };
    const scriptLength = (name) => {
        const bytes = encoder.encode(field(name).value.replace(/\r\n?/g, "\n")).length;
        return 2 + 4 * Math.ceil(bytes / 3);
    };
    const image = (name) => ({md5sum: field(`${name}_md5sum`).value, url: field(`${name}_url`).value});

    const measure = () => {
        let config;
        try {
            config = JSON.parse(field("config").value.trim() || "{}");
        } catch {
            text.textContent = "The free configuration is no JSON yet.";
            return;
        }
        const frame = {bootcode: "", config, initfs: image("initfs"), rootfs: image("rootfs"), usercode: ""};
        const size = lengthOf(frame) - 4 + scriptLength("bootcode") + scriptLength("usercode");
        const left = limit - size;
        panel.classList.toggle("mu-boot-size--over", left < 0);
        bar.value = Math.min(size, limit);
        text.textContent = left < 0 ? `${-left} bytes too many` : `${left} of ${limit} bytes left`;
    };
    let waiting = 0;
    const soon = () => {
        window.clearTimeout(waiting);
        waiting = window.setTimeout(measure, 100);
    };
    // Builds of the key's own space and of everybody's; choosing one fills in both images.
    const pick = panel.querySelector("[data-boot-pick]");
    const select = pick?.querySelector("select");
    const keyId = () => panel.dataset.key || /\(([^()]+)\)\s*$/.exec(field("api_key")?.selectedOptions[0]?.text ?? "")?.[1];
    let builds = [];
    const offer = () => {
        const mine = builds.filter((one) => one.space === "global" || one.space === keyId());
        const named = mine.map((one) => new Option(`${one.recipe}, ${one.build_id}${one.space === "global" ? " (global)" : ""}`, builds.indexOf(one)));
        select.replaceChildren(new Option("Choose…", ""), ...named);
        pick.hidden = !mine.length;
    };
    const put = (name, value) => {
        field(name).value = value;
        field(name).dispatchEvent(new Event("input", {bubbles: true}));
    };
    const load = async () => {
        const answer = await fetch("/api/v1/boot/builds/?page_size=100", {headers: {Accept: "application/json"}});
        builds = answer.ok ? (await answer.json()).results : [];
        offer();
    };
    select?.addEventListener("change", () => {
        const build = builds[Number(select.value)];
        if (!select.value || !build) {
            return;
        }
        for (const [name, file] of [["initfs", "initramfs.tgz"], ["rootfs", "rootfs.sqsh"]]) {
            const found = build.files.find((one) => one.path.endsWith(`/${file}`));
            const space = build.space === "global" ? "global" : "own";
            put(`${name}_url`, `${panel.dataset.origin}/images/${space}/${found.path}`);
            put(`${name}_md5sum`, found.md5);
        }
    });
    field("api_key")?.addEventListener("change", offer);
    if (pick) {
        load().catch(() => {});
    }

    form.addEventListener("input", soon);
    form.addEventListener("change", soon);
    measure();
});
