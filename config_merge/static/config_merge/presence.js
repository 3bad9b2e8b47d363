// Keeps dots, statuses and task states current: the page names the devices and tasks it shows, and the server sends the
// parts that change, as the HTML it would render itself. Without a connection the page stays what it was.
"use strict";

document.addEventListener("DOMContentLoaded", () => {
    const places = () => [...document.querySelectorAll("[data-live-part]")];
    const panels = () => [...document.querySelectorAll("[data-live-panel]")];
    if (!("WebSocket" in window) || !(places().length || panels().length)) {
        return;
    }
    const PATH = "/ws/presence/";
    const MOST = 200;
    const FIRST = 1_000;
    const LONGEST = 60_000;
    const REFUSED = 4403;
    let pause = FIRST;
    let timer = 0;
    let socket = null;
    let said = "";
    const marks = new Map();

    const shown = () => {
        const devices = new Set();
        const tasks = new Set();
        const kinds = new Set();
        places().forEach(({dataset}) => {
            const [kind, id] = dataset.livePart.split(":");
            if (kind === "state") {
                tasks.add(id);
            } else {
                devices.add(id);
                kinds.add(kind);
            }
        });
        panels().forEach(({dataset}) => {
            devices.add(dataset.livePanel);
            kinds.add("mark");
        });
        const some = (ids) => [...ids].slice(0, MOST);
        return JSON.stringify({devices: some(devices), tasks: some(tasks), kinds: [...kinds]});
    };

    const tell = () => {
        const now = shown();
        if (now !== said && socket?.readyState === WebSocket.OPEN) {
            said = now;
            socket.send(now);
        }
    };

    // The words are the server's own template, with everything in them escaped.
    const refresh = async (panel) => {
        if (panel.contains(document.activeElement) && document.activeElement.matches("input, textarea, select")) {
            return;
        }
        try {
            const answer = await fetch(panel.dataset.livePanelUrl, {redirect: "error", headers: {Accept: "text/html"}});
            if (answer.ok) {
                const open = [...panel.querySelectorAll("details[open]")].map((each) => each.id);
                panel.innerHTML = await answer.text();
                open.filter(Boolean).forEach((id) => document.getElementById(id)?.setAttribute("open", ""));
                tell();
            }
        } catch {
            // It stays what it was.
        }
    };

    const put = (name, html) => {
        const [kind, id] = name.split(":");
        if (kind !== "mark") {
            document.querySelectorAll(`[data-live-part="${CSS.escape(name)}"]`).forEach((place) => {
                if (place.innerHTML !== html) {
                    place.innerHTML = html;
                }
            });
            return;
        }
        const panel = document.querySelector(`[data-live-panel="${CSS.escape(id)}"]`);
        const before = marks.get(id) ?? panel?.dataset.liveMark;
        marks.set(id, html);
        if (panel && before !== html) {
            refresh(panel);
        }
    };

    const connect = () => {
        const scheme = window.location.protocol === "https:" ? "wss" : "ws";
        socket = new WebSocket(`${scheme}://${window.location.host}${PATH}`);
        socket.addEventListener("open", () => {
            said = "";
            tell();
            document.documentElement.dataset.presence = "live";
        });
        socket.addEventListener("message", ({data}) => {
            pause = FIRST;
            Object.entries(JSON.parse(data).parts).forEach(([name, html]) => put(name, html));
        });
        socket.addEventListener("close", ({code}) => {
            socket = null;
            document.documentElement.dataset.presence = "still";
            if (code === REFUSED) {
                return;
            }
            window.clearTimeout(timer);
            timer = window.setTimeout(connect, pause * (0.75 + Math.random() / 2));
            pause = Math.min(pause * 2, LONGEST);
        });
    };

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
