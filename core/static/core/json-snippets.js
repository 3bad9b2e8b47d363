// NetJSON objects one often begins with: [name, the list or object it goes into, the object].

export const SNIPPETS = [
    ["Ethernet interface", "interfaces", {name: "eth0", type: "ethernet", addresses: [{proto: "dhcp", family: "ipv4"}]}],
    ["Interface with a fixed address", "interfaces", {name: "eth1", type: "ethernet",
        addresses: [{proto: "static", family: "ipv4", address: "192.168.1.1", mask: 24}]}],
    ["Bridge", "interfaces", {name: "br-lan", type: "bridge", bridge_members: ["eth0"],
        addresses: [{proto: "dhcp", family: "ipv4"}]}],
    ["Wi-Fi access point", "interfaces", {name: "wlan0", type: "wireless",
        wireless: {radio: "radio0", mode: "access_point", ssid: "{{ ssid }}",
            encryption: {protocol: "wpa2_personal", cipher: "ccmp", key: "{{ wifi_key }}"}}}],
    ["Wi-Fi client", "interfaces", {name: "wlan0", type: "wireless",
        wireless: {radio: "radio0", mode: "station", ssid: "{{ ssid }}",
            encryption: {protocol: "wpa2_personal", cipher: "ccmp", key: "{{ wifi_key }}"}}}],
    ["Radio, 2.4 GHz", "radios", {name: "radio0", protocol: "802.11n", band: "2g", channel: 6, channel_width: 20, country: "DE"}],
    ["Radio, 5 GHz", "radios", {name: "radio1", protocol: "802.11ac", band: "5g", channel: 36, channel_width: 80, country: "DE"}],
    ["Static route", "routes", {device: "eth0", destination: "10.0.0.0/8", next: "192.168.1.254", cost: 0}],
    ["Name servers", "dns_servers", "9.9.9.9"],
    ["NTP", "ntp", {enabled: true, enable_server: false, server: ["0.openwrt.pool.ntp.org", "1.openwrt.pool.ntp.org"]}],
    ["Time zone", "general", {timezone: "UTC"}],
    ["File", "files", {path: "/etc/motd", mode: "0644", contents: "Welcome to {{ name }}\n"}],
];

const LISTS = new Set(["interfaces", "radios", "routes", "dns_servers", "files"]);

// Returns the configuration with the snippet added, and the pointer of what was added.
export const inserted = (config, [, key, content]) => {
    const result = {...config};
    const copy = structuredClone(content);
    if (LISTS.has(key)) {
        const list = Array.isArray(result[key]) ? result[key] : [];
        const names = new Set(list.map((item) => item?.name));
        while (copy.name && names.has(copy.name)) {
            copy.name = copy.name.replace(/\d*$/, (digits) => String(Number(digits || "0") + 1));
        }
        result[key] = [...list, copy];
        return [result, `/${key}/${list.length}`];
    }
    result[key] = {...copy, ...result[key]};
    return [result, `/${key}`];
};
