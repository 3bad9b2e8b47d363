// Follows uploads that are on their way, and loads the page anew when one of them ends.
"use strict";

document.addEventListener("DOMContentLoaded", () => {
    const list = "/api/v1/boot/uploads/?page_size=100";
    const rows = [...document.querySelectorAll("[data-upload]")];
    if (!rows.length) {
        return;
    }
    const EVERY = 2000;
    const words = (size) => {
        const units = ["bytes", "KiB", "MiB", "GiB", "TiB"];
        const power = size ? Math.min(Math.floor(Math.log2(size) / 10), units.length - 1) : 0;
        return `${Number((size / 1024 ** power).toFixed(power ? 1 : 0))} ${units[power]}`;
    };
    const look = async () => {
        const answer = await fetch(list, {headers: {Accept: "application/json"}});
        if (!answer.ok) {
            return;
        }
        const found = new Map((await answer.json()).results.map((one) => [one.id, one]));
        for (const row of rows) {
            const one = found.get(row.dataset.upload);
            if (!one) {
                continue;
            }
            if (one.state !== row.dataset.state) {
                window.location.reload();
                return;
            }
            const part = one.state === "finishing" ? one.checked : one.received;
            row.querySelector("[data-upload-bar]").value = one.size ? Math.floor((100 * part) / one.size) : 100;
            row.querySelector("[data-upload-text]").textContent = `${words(part)} of ${words(one.size)}`;
        }
    };
    window.setInterval(() => {
        if (!document.hidden) {
            look().catch(() => {});
        }
    }, EVERY);
});
