// What a draft 4 JSON schema says against a value, in words, with the place of each complaint.
//
// Made for configurations before variables are put in: a string with {{ a variable }} in it may become anything, so
// nothing is said against it. Where a value must have one of several forms, only the form that was most likely meant
// is spoken of: an alternative whose `type`, `mode` or `protocol` is another one is farther away.
import {escaped} from "./json-places.js";

const VARIABLE = /\{\{.*\}\}/s;
const MOST = 50;

export const isVariable = (value) => typeof value === "string" && VARIABLE.test(value);

const TYPES = {
    object: (value) => value !== null && typeof value === "object" && !Array.isArray(value),
    array: (value) => Array.isArray(value),
    string: (value) => typeof value === "string",
    integer: (value) => Number.isInteger(value),
    number: (value) => typeof value === "number",
    boolean: (value) => typeof value === "boolean",
    null: (value) => value === null,
};
const WITH_ARTICLE = {object: "an object", array: "a list", string: "a text", integer: "a whole number", number: "a number",
    boolean: "true or false", null: "null"};
const OCTET = "(25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])";
const FORMATS = {
    ipv4: [new RegExp(`^${OCTET}(\\.${OCTET}){3}$`), "an IPv4 address"],
    ipv6: [/^[0-9a-fA-F:.]*:[0-9a-fA-F:.]*$/, "an IPv6 address"],
    cidr: [/^[0-9a-fA-F:.]+\/\d{1,3}$/, "an address with its prefix length"],
};

const holdsVariable = (value) =>
    isVariable(value) || (value !== null && typeof value === "object" && Object.values(value).some(holdsVariable));

const same = (left, right) => {
    if (left === null || right === null || typeof left !== "object" || typeof right !== "object") {
        return left === right;
    }
    const keys = Object.keys(left);
    return Array.isArray(left) === Array.isArray(right) && keys.length === Object.keys(right).length &&
        keys.every((key) => Object.hasOwn(right, key) && same(left[key], right[key]));
};

const quoted = (value) => {
    const text = JSON.stringify(value);
    return text.length > 60 ? "this value" : text;
};

const listed = (values) => {
    const shown = values.slice(0, 8).map((value) => JSON.stringify(value)).join(", ");
    return values.length > 8 ? `${shown} and ${values.length - 8} more` : shown;
};

const pattern = (source) => {
    try {
        return new RegExp(source);
    } catch {
        return null;
    }
};

class Check {
    constructor(root) {
        this.root = root;
        this.patterns = new Map();
    }

    matches(source, text) {
        if (!this.patterns.has(source)) {
            this.patterns.set(source, pattern(source));
        }
        return this.patterns.get(source)?.test(text) ?? true;
    }

    followed(schema) {
        let found = schema;
        for (let steps = 0; found?.$ref && steps < 20; steps += 1) {
            found = found.$ref.replace(/^#\/?/, "").split("/").reduce((inner, key) => inner?.[key], this.root);
        }
        return found ?? {};
    }

    // Every complaint is {pointer, message, kind}; `kind` is the schema's word for the rule.
    errors(given, value, pointer) {
        const schema = this.followed(given);
        if (isVariable(value)) {
            return [];
        }
        const said = [];
        const say = (kind, message, at = pointer) => said.push({pointer: at, message, kind});
        if (schema.type) {
            const types = [schema.type].flat();
            if (!types.some((type) => TYPES[type]?.(value))) {
                say("type", `must be ${types.map((type) => WITH_ARTICLE[type] ?? type).join(" or ")}, not ${quoted(value)}`);
                return said;
            }
        }
        if (schema.enum && !schema.enum.some((allowed) => same(allowed, value))) {
            say("enum", schema.enum.length === 1 ? `must be ${quoted(schema.enum[0])}` : `must be one of ${listed(schema.enum)}`);
        }
        this.scalar(schema, value, say);
        if (TYPES.object(value)) {
            said.push(...this.object(schema, value, pointer, say));
        } else if (Array.isArray(value)) {
            said.push(...this.list(schema, value, pointer, say));
        }
        for (const part of schema.allOf ?? []) {
            said.push(...this.errors(part, value, pointer));
        }
        for (const key of ["oneOf", "anyOf"]) {
            if (schema[key]) {
                said.push(...this.alternatives(schema[key], value, pointer, key === "oneOf"));
            }
        }
        if (schema.not && !holdsVariable(value) && !this.errors(schema.not, value, pointer).length) {
            say("not", "is not allowed here");
        }
        return said.slice(0, MOST);
    }

    scalar(schema, value, say) {
        if (typeof value === "string") {
            const length = [...value].length;
            if (schema.minLength !== undefined && length < schema.minLength) {
                say("minLength", length ? `must have at least ${schema.minLength} characters` : "must not be empty");
            }
            if (schema.maxLength !== undefined && length > schema.maxLength) {
                say("maxLength", `must have at most ${schema.maxLength} characters, has ${length}`);
            }
            if (schema.pattern && !this.matches(schema.pattern, value)) {
                say("pattern", `does not match ${schema.pattern}`);
            }
            const format = FORMATS[schema.format];
            if (format && !format[0].test(value)) {
                say("format", `must be ${format[1]}`);
            }
        } else if (typeof value === "number") {
            if (schema.minimum !== undefined && value < schema.minimum) {
                say("minimum", `must be at least ${schema.minimum}`);
            }
            if (schema.maximum !== undefined && value > schema.maximum) {
                say("maximum", `must be at most ${schema.maximum}`);
            }
        }
    }

    object(schema, value, pointer, say) {
        const said = [];
        for (const key of schema.required ?? []) {
            if (!Object.hasOwn(value, key)) {
                say("required", `lacks "${key}"`);
            }
        }
        const known = schema.properties ?? {};
        const patterns = Object.entries(schema.patternProperties ?? {});
        for (const [key, item] of Object.entries(value)) {
            const at = `${pointer}/${escaped(key)}`;
            const matching = patterns.filter(([source]) => this.matches(source, key));
            if (Object.hasOwn(known, key)) {
                said.push(...this.errors(known[key], item, at));
            }
            matching.forEach(([, inner]) => said.push(...this.errors(inner, item, at)));
            if (!Object.hasOwn(known, key) && !matching.length && schema.additionalProperties !== undefined) {
                if (schema.additionalProperties === false) {
                    say("additionalProperties", `"${key}" is unknown here`, at);
                } else if (TYPES.object(schema.additionalProperties)) {
                    said.push(...this.errors(schema.additionalProperties, item, at));
                }
            }
        }
        return said;
    }

    list(schema, value, pointer, say) {
        const said = [];
        if (schema.minItems !== undefined && value.length < schema.minItems) {
            say("minItems", `must have at least ${schema.minItems} entries`);
        }
        if (schema.maxItems !== undefined && value.length > schema.maxItems) {
            say("maxItems", `must have at most ${schema.maxItems} entries`);
        }
        if (schema.uniqueItems && value.length <= 200) {
            value.forEach((item, index) => {
                if (value.slice(0, index).some((before) => same(before, item))) {
                    say("uniqueItems", "stands in the list twice", `${pointer}/${index}`);
                }
            });
        }
        if (TYPES.object(schema.items)) {
            value.forEach((item, index) => said.push(...this.errors(schema.items, item, `${pointer}/${index}`)));
        }
        return said;
    }

    alternatives(choices, value, pointer, exactlyOne) {
        const tried = choices.map((choice) => this.errors(choice, value, pointer));
        const fitting = tried.filter((errors) => !errors.length).length;
        if (fitting === 1 || (fitting && (!exactlyOne || holdsVariable(value)))) {
            return [];
        }
        if (fitting) {
            return [{pointer, message: "fits more than one of the allowed forms", kind: "oneOf"}];
        }
        const depth = pointer.split("/").length;
        const distance = (errors) => [
            errors.filter(({kind, pointer: at}) => kind === "enum" && at.split("/").length === depth + 1).length,
            errors.length,
        ];
        const [nearest] = tried
            .map((errors) => [distance(errors), errors])
            .sort(([left], [right]) => left[0] - right[0] || left[1] - right[1]);
        return nearest[1];
    }
}

// Complaints in the order of the text, each place and message once.
export const complaints = (schema, value) => {
    const seen = new Set();
    return new Check(schema).errors(schema, value, "").filter(({pointer, message}) => {
        const key = `${pointer} ${message}`;
        return !seen.has(key) && seen.add(key);
    });
};
