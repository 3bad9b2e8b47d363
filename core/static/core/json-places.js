// Where in a JSON text each value stands: a pointer ("/interfaces/0/mtu") leads to its first and last character.
// The text must be valid JSON; JSON.parse says whether it is.

const BLANK = /[\s]/;

export const escaped = (token) => String(token).replaceAll("~", "~0").replaceAll("/", "~1");

export const tokens = (pointer) =>
    pointer
        .replace(/^#/, "")
        .split("/")
        .slice(1)
        .map((token) => token.replaceAll("~1", "/").replaceAll("~0", "~"));

// Returns a Map from pointer to {from, to}; a key's place begins at the key, so that a jump shows its name.
export const places = (text) => {
    const found = new Map();
    let at = 0;

    const skip = () => {
        while (at < text.length && BLANK.test(text[at])) {
            at += 1;
        }
    };
    const string = () => {
        const from = at;
        at += 1;
        while (text[at] !== '"') {
            at += text[at] === "\\" ? 2 : 1;
        }
        at += 1;
        return JSON.parse(text.slice(from, at));
    };
    const value = (pointer, from) => {
        skip();
        const start = from ?? at;
        if (text[at] === "{") {
            at += 1;
            skip();
            while (text[at] !== "}") {
                const begin = at;
                const key = string();
                skip();
                at += 1;
                value(`${pointer}/${escaped(key)}`, begin);
                skip();
                if (text[at] === ",") {
                    at += 1;
                    skip();
                }
            }
            at += 1;
        } else if (text[at] === "[") {
            at += 1;
            skip();
            for (let index = 0; text[at] !== "]"; index += 1) {
                value(`${pointer}/${index}`);
                skip();
                if (text[at] === ",") {
                    at += 1;
                    skip();
                }
            }
            at += 1;
        } else if (text[at] === '"') {
            string();
        } else {
            while (at < text.length && !/[,\]}\s]/.test(text[at])) {
                at += 1;
            }
        }
        found.set(pointer, {from: start, to: at});
    };

    value("");
    return found;
};

// The place of a pointer, or of the nearest value above it.
export const placeOf = (found, pointer) => {
    let near = pointer.replace(/^#/, "");
    while (near && !found.has(near)) {
        near = near.slice(0, near.lastIndexOf("/"));
    }
    return found.get(near) ?? {from: 0, to: 0};
};

export const lineOf = (text, offset) => text.slice(0, offset).split("\n").length;
