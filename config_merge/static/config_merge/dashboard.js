// Keeps the dashboard's numbers current: the server pushes the parts that changed, as the HTML it would render itself.
// Without a connection the page stays what it was when it was loaded, and says nothing of it.
"use strict";

document.addEventListener("DOMContentLoaded", () => {
    const root = document.querySelector("[data-live]");
    if (!root?.dataset.live || !("WebSocket" in window)) {
        return;
    }
    const FIRST = 1_000;
    const LONGEST = 60_000;
    const REFUSED = 4403;
    let pause = FIRST;
    let timer = 0;
    let socket = null;

    // What has the keyboard or is unfolded stays so.
    const put = (part, html) => {
        const place = root.querySelector(`[data-part="${CSS.escape(part)}"]`);
        if (!place) {
            return;
        }
        const focused = place.contains(document.activeElement) ? document.activeElement.getAttribute("href") : null;
        const open = place.querySelector("details")?.open ?? false;
        place.innerHTML = html;
        if (open) {
            place.querySelector("details")?.setAttribute("open", "");
        }
        if (focused) {
            place.querySelector(`a[href="${CSS.escape(focused)}"]`)?.focus();
        }
    };

    const connect = () => {
        const scheme = window.location.protocol === "https:" ? "wss" : "ws";
        socket = new WebSocket(`${scheme}://${window.location.host}${root.dataset.live}`);
        socket.addEventListener("open", () => {
            root.dataset.state = "live";
        });
        socket.addEventListener("message", ({data}) => {
            pause = FIRST;
            Object.entries(JSON.parse(data).parts).forEach(([part, html]) => put(part, html));
            if (root.querySelector('[data-figure="devices"]')?.textContent !== "0") {
                root.querySelector(".mu-first")?.remove();
            }
        });
        socket.addEventListener("close", ({code}) => {
            socket = null;
            root.dataset.state = "still";
            if (code === REFUSED) {
                return;
            }
            window.clearTimeout(timer);
            timer = window.setTimeout(connect, pause * (0.75 + Math.random() / 2));
            pause = Math.min(pause * 2, LONGEST);
        });
    };

    // Nobody looks at a page in the background; it catches up when somebody does.
    document.addEventListener("visibilitychange", () => {
        if (!document.hidden && !socket) {
            window.clearTimeout(timer);
            pause = FIRST;
            connect();
        }
    });
    window.addEventListener("pagehide", () => {
        window.clearTimeout(timer);
        socket?.close();
    });
    connect();
});
