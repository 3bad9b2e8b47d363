// Sends a file to the REST API in parts, and goes on where an upload of the same file stood.
"use strict";

document.addEventListener("DOMContentLoaded", () => {
    const form = document.querySelector("[data-boot-upload]");
    if (!form) {
        return;
    }
    const PART = 8 * 1024 * 1024;
    const TRIES = 5;
    const uploads = form.dataset.bootUpload;
    const [file, path, key, md5] = ["file", "path", "key", "md5"].map((name) => form.elements.namedItem(name));
    const find = (name) => form.querySelector(`[data-upload-${name}]`);
    const token = form.elements.namedItem("csrfmiddlewaretoken").value;

    const words = (body) => (body && typeof body === "object" ? Object.values(body).flat().join(" ") : "");
    class Refused extends Error {}

    const ask = async (method, address, body, type) => {
        const headers = {Accept: "application/json", "X-CSRFToken": token, ...(type ? {"Content-Type": type} : {})};
        const answer = await fetch(address, {method, headers, body, redirect: "error"});
        const said = await answer.json().catch(() => null);
        if (!answer.ok && answer.status !== 409 && answer.status < 500) {
            throw new Refused(words(said) || `The server answered ${answer.status}.`);
        }
        if (answer.status >= 500) {
            throw new Error(words(said) || `The server answered ${answer.status}.`);
        }
        return {status: answer.status, said};
    };

    const begin = async (chosen) => {
        const found = await ask("GET", `${uploads}?state=open&page_size=100${key.value ? `&key=${key.value}` : ""}`);
        const same = found.said.results.find(
            (one) => one.path === path.value && one.size === chosen.size && (one.key?.id ?? "") === key.value,
        );
        if (same) {
            return same;
        }
        const asked = {key: key.value || null, path: path.value, size: chosen.size, md5: md5.value.trim()};
        return (await ask("POST", uploads, JSON.stringify(asked), "application/json")).said;
    };

    const show = (sent, total) => {
        find("progress").hidden = false;
        find("bar").max = Math.max(total, 1);
        find("bar").value = total ? sent : 1;
        const percent = total ? Math.floor((100 * sent) / total) : 100;
        find("text").textContent = sent < total ? `${percent} % of ${total.toLocaleString("en")} bytes` : "Being checked…";
    };

    // A worker puts a large file together; its word comes with the upload.
    const followed = async (address) => {
        for (;;) {
            await new Promise((wake) => window.setTimeout(wake, 1000));
            let one;
            try {
                one = (await ask("GET", address)).said;
            } catch (problem) {
                if (problem instanceof Refused) {
                    throw problem;
                }
                continue;
            }
            if (one.state === "finished") {
                return {id: one.image};
            }
            if (one.state !== "finishing") {
                throw new Refused(one.problem);
            }
            const percent = Math.floor((100 * one.checked) / Math.max(one.size, 1));
            find("bar").value = one.checked;
            find("text").textContent = one.checked ? `Being checked: ${percent} %` : "Waits to be checked…";
        }
    };

    const send = async (chosen) => {
        const upload = await begin(chosen);
        const address = `${uploads}${upload.id}/`;
        let at = upload.received;
        let failures = 0;
        show(at, chosen.size);
        while (at < chosen.size) {
            try {
                const part = chosen.slice(at, at + PART);
                const {status, said} = await ask("PATCH", `${address}?offset=${at}`, part, "application/octet-stream");
                if (status === 409 && said.received === undefined) {
                    throw new Refused(words(said));
                }
                at = said.received;
                failures = 0;
            } catch (problem) {
                failures += 1;
                if (problem instanceof Refused || failures >= TRIES) {
                    throw problem;
                }
                await new Promise((wake) => window.setTimeout(wake, 500 * 2 ** failures));
                at = (await ask("GET", address)).said.received;
            }
            show(at, chosen.size);
        }
        const {status, said} = await ask("POST", `${address}finish/`);
        if (status === 409) {
            throw new Refused(words(said));
        }
        return status === 202 ? followed(address) : said;
    };

    file.addEventListener("change", () => {
        if (!path.value && file.files.length) {
            path.value = file.files[0].name;
        }
    });

    form.addEventListener("submit", async (event) => {
        event.preventDefault();
        const button = form.querySelector("button[type=submit]");
        button.disabled = true;
        find("problem").hidden = true;
        try {
            const image = await send(file.files[0]);
            window.location.assign(form.dataset.image.replace(form.dataset.zero, image.id));
        } catch (problem) {
            find("progress").hidden = true;
            find("problem").textContent = problem.message;
            find("problem").hidden = false;
            button.disabled = false;
        }
    });
});
