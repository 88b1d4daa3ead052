
"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const byId = (id) => document.getElementById(id);
  const map = byId("map");

  // How often something changes: the upper ends of the colours, as parts of all updates.
  const OFTEN = [0.01, 0.03, 0.1, 0.25, 0.5, 1];
  const HEAD = 18;
  const OPEN_HEAD = 26;
  const LISTED = 300;

  // ---- Text ----

  function bytes(size) {
    for (const unit of ["B", "kB", "MB", "GB"]) {
      if (size < 999.5) {
        return `${size.toFixed(unit === "B" || size >= 99.95 ? 0 : 1)} ${unit}`;
      }
      size /= 1000;
    }
    return `${size.toFixed(1)} TB`;
  }

  function percent(share) {
    if (share > 0 && share < 0.001) return "<0.1 %";
    return `${(100 * share).toFixed(share < 0.0995 ? 1 : 0)} %`;
  }

  const count = (number, noun) => `${number} ${noun}${number === 1 ? "" : "s"}`;
  const often = (share) => OFTEN.findIndex((end) => share <= end + 1e-9);
  // What a store path is called: all that follows /nix/store/, 32 digits and a dash.
  const nameOf = (path) => path.slice("/nix/store/".length + 33);

  // Everything that comes from the image gets into the page here, and as text only.
  function element(tag, attributes = {}, ...children) {
    const made = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) {
      if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
      else if (value !== null && value !== false) made.setAttribute(name, value);
    }
    made.append(...children.filter((child) => child !== null && child !== ""));
    return made;
  }

  // ---- Items: layers, and the paths in them ----

  const diff = data.diff || null;
  const newLayers = new Map(diff ? diff.new.map((layer) => [layer.digest, layer]) : []);
  const changes = new Map(diff ? diff.changes.filter((c) => c.path).map((c) => [c.path, c]) : []);
  const paths = [];
  const layers = data.layers.map((facts) => {
    const layer = {
      facts,
      kind: "layer",
      size: facts.size,
      share: facts.share,
      added: newLayers.get(facts.digest) || null,
      title: facts.contents || facts.why,
    };
    layer.paths = facts.paths.map((path) => {
      const item = {
        facts: path,
        kind: "path",
        layer,
        size: path.narSize,
        share: path.share,
        change: changes.get(path.path) || null,
        title: nameOf(path.path),
        search: path.path.toLowerCase(),
        referrers: [],
      };
      paths.push(item);
      return item;
    });
    return layer;
  });
  paths.forEach((path, place) => {
    path.references = data.references[place].map((other) => paths[other]);
    for (const other of path.references) other.referrers.push(path);
  });
  const bySize = [...layers].sort((a, b) => b.size - a.size || a.facts.number - b.facts.number);

  function label(item) {
    const changed = `changes in ${percent(item.share)} of updates`;
    if (item.kind === "path") {
      const state = item.change ? `, ${item.change.kind}` : "";
      return `${item.title}, ${bytes(item.size)}, ${changed}${state}`;
    }
    const number = item.paths.length ? count(item.paths.length, "path") : "no store paths";
    const state = item.added ? ", new" : "";
    return `Layer ${item.facts.number}: ${item.title}, ${bytes(item.size)}, ${number}, ${changed}${state}`;
  }

  // ---- The map ----

  let opened = null;
  let current = bySize[0] || null;
  let hovered = null;
  let matches = null;

  for (const layer of bySize) {
    const colour = `often${often(layer.share)}`;
    layer.head = element("div", { class: "head" });
    layer.group = element("div", { class: "group", role: "group" });
    layer.node = element(
      "div",
      {
        class: `layer ${colour}${layer.added ? " new" : ""}`,
        role: "treeitem",
        tabindex: -1,
        "aria-level": 1,
        "aria-label": label(layer),
        "aria-expanded": layer.paths.length ? "false" : null,
      },
      layer.head,
    );
    if (layer.paths.length) layer.node.append(layer.group);
    for (const path of layer.paths) {
      path.node = element("div", {
        class: `cell often${often(path.share)}${path.change ? " changed" : ""}`,
        role: "treeitem",
        tabindex: -1,
        "aria-level": 2,
        "aria-label": label(path),
      });
      layer.group.append(path.node);
      path.node.item = path;
    }
    layer.node.item = layer;
    map.append(layer.node);
  }
  const ring = element("div", { class: "ring", "aria-hidden": "true", hidden: "" });
  map.append(ring);

  // Squarified treemap (Bruls, Huizing, van Wijk 2000): rows along the shorter side, each as long as
  // its worst rectangle gets better. Items come largest first; each gets `box` = x, y, width, height.
  function squarify(items, x, y, width, height) {
    const total = items.reduce((sum, item) => sum + item.size, 0);
    const scale = total > 0 ? (width * height) / total : 0;
    const worst = (row, sum, side) => {
      const high = row[0].size * scale;
      const low = row[row.length - 1].size * scale;
      return Math.max((side * side * high) / (sum * sum), (sum * sum) / (side * side * low));
    };
    let start = 0;
    while (start < items.length) {
      const side = Math.max(Math.min(width, height), 1e-9);
      const row = [items[start]];
      let sum = items[start].size * scale;
      let end = start + 1;
      while (end < items.length) {
        const more = sum + items[end].size * scale;
        if (worst([...row.slice(0, 1), items[end]], more, side) > worst(row, sum, side)) break;
        row.push(items[end]);
        sum = more;
        end += 1;
      }
      const thickness = sum / side;
      let offset = 0;
      for (const item of row) {
        const length = sum > 0 ? (item.size * scale * side) / sum : 0;
        item.box =
          width >= height
            ? [x, y + offset, thickness, length]
            : [x + offset, y, length, thickness];
        offset += length;
      }
      if (width >= height) {
        x += thickness;
        width = Math.max(0, width - thickness);
      } else {
        y += thickness;
        height = Math.max(0, height - thickness);
      }
      start = end;
    }
  }

  function place(node, [x, y, width, height]) {
    node.style.left = `${x}px`;
    node.style.top = `${y}px`;
    node.style.width = `${width}px`;
    node.style.height = `${height}px`;
  }

  function draw() {
    const width = map.clientWidth;
    const height = map.clientHeight;
    squarify(bySize, 0, 0, width, height);
    for (const layer of bySize) {
      const isOpen = opened === layer;
      const box = isOpen ? [0, 0, width, height] : layer.box;
      layer.node.hidden = opened !== null && !isOpen;
      if (layer.node.hidden) continue;
      const bare = !layer.paths.length;
      const border = layer.added ? 3 : 2;
      const [inner, tall] = [box[2] - 2 * border, box[3] - 2 * border];
      const headed = isOpen || (inner > 36 && tall > (bare ? 14 : 40));
      const head = isOpen ? OPEN_HEAD : headed ? HEAD : 0;
      place(layer.node, box);
      layer.node.classList.toggle("open", isOpen);
      layer.node.classList.toggle("tiny", !headed);
      layer.node.classList.toggle("bare", bare);
      if (!bare) layer.node.setAttribute("aria-expanded", String(isOpen));
      const added = layer.added ? "+ " : "";
      const title = ` · ${layer.title} · ${bytes(layer.size)}`;
      layer.head.textContent = `${added}${layer.facts.number}${inner > 64 ? title : ""}`;
      layer.head.style.height = bare ? "" : `${head}px`;
      layer.group.style.setProperty("--head", `${head}px`);
      squarify(layer.paths, 0, head, Math.max(0, inner), Math.max(0, tall - head));
      for (const path of layer.paths) {
        const [, , wide, high] = path.box;
        place(path.node, path.box);
        const named = wide > 34 && high > 13;
        path.node.classList.toggle("tiny", !named);
        path.node.textContent = named ? (path.change ? `+ ${path.title}` : path.title) : "";
      }
    }
    drawRing();
  }

  function boxOf(item) {
    if (item.kind === "layer") {
      return opened === item ? [0, 0, map.clientWidth, OPEN_HEAD] : item.box;
    }
    const border = item.layer.added ? 3 : 2;
    const [x, y] = opened === item.layer ? [0, 0] : item.layer.box;
    const [left, top, width, height] = item.box;
    return [x + left + border, y + top + border, width, height];
  }

  // Around what has the focus, and never too small to be seen.
  function drawRing() {
    const focused = current && document.activeElement === current.node;
    ring.hidden = !focused;
    if (!focused) return;
    const [x, y, width, height] = boxOf(current);
    const [wide, high] = [Math.max(width, 16), Math.max(height, 16)];
    place(ring, [
      Math.max(0, Math.min(x + (width - wide) / 2, map.clientWidth - wide)),
      Math.max(0, Math.min(y + (height - high) / 2, map.clientHeight - high)),
      wide,
      high,
    ]);
  }

  // ---- Moving ----

  function choose(item, focus = true) {
    if (current && current.node) current.node.tabIndex = -1;
    current = item;
    if (!item) return;
    item.node.tabIndex = 0;
    if (focus) item.node.focus({ preventScroll: true });
    showDetails();
    markRows();
    drawRing();
  }

  function open(layer, item = null, focus = true) {
    opened = layer.paths.length ? layer : null;
    byId("back").hidden = opened === null;
    draw();
    choose(item || (opened ? layer.paths[0] : layer), focus);
    showTables();
  }

  function close(focus = true) {
    const layer = opened;
    opened = null;
    byId("back").hidden = true;
    draw();
    choose(layer || current, focus);
    showTables();
  }

  function goTo(item) {
    if (item.kind === "path") open(item.layer, item);
    else {
      opened = null;
      byId("back").hidden = true;
      draw();
      choose(item);
      showTables();
    }
  }

  const reachable = () => (opened ? [opened, ...opened.paths] : bySize);

  function neighbour(horizontal, sign) {
    const middle = ([x, y, width, height]) => [x + width / 2, y + height / 2];
    const from = boxOf(current);
    const [fromX, fromY] = middle(from);
    let best = null;
    let least = Infinity;
    for (const item of reachable()) {
      if (item === current) continue;
      const box = boxOf(item);
      const [x, y] = middle(box);
      const along = sign * (horizontal ? x - fromX : y - fromY);
      if (along <= 0.01) continue;
      // Beside it, if the two see each other; else the nearest that is roughly in this direction.
      const axis = horizontal ? 1 : 0;
      const sideways = Math.abs(horizontal ? y - fromY : x - fromX);
      const gap = Math.max(
        0,
        Math.max(box[axis], from[axis]) -
          Math.min(box[axis] + box[axis + 2], from[axis] + from[axis + 2]),
      );
      const distance = along + 0.2 * sideways + (gap > 0 ? 3 * gap + 50 : 0);
      if (distance < least) [best, least] = [item, distance];
    }
    if (best) return best;
    return step(sign);
  }

  function step(sign) {
    const items = reachable();
    return items[Math.max(0, Math.min(items.length - 1, items.indexOf(current) + sign))];
  }

  const KEYS = {
    ArrowRight: () => choose(neighbour(true, 1)),
    ArrowLeft: () => choose(neighbour(true, -1)),
    ArrowDown: () => choose(neighbour(false, 1)),
    ArrowUp: () => choose(neighbour(false, -1)),
    PageDown: () => choose(step(1)),
    PageUp: () => choose(step(-1)),
    Home: () => choose(reachable()[0]),
    End: () => choose(reachable()[reachable().length - 1]),
    Enter: activate,
    " ": activate,
    Escape: () => opened && close(),
  };

  // Enter opens a closed layer; on the head of an open one, it closes it.
  function activate() {
    if (current.kind === "layer") {
      if (opened === current) close();
      else open(current);
    } else if (opened !== current.layer) open(current.layer, current);
  }

  map.addEventListener("keydown", (event) => {
    const act = KEYS[event.key];
    if (!act || !current || event.ctrlKey || event.altKey || event.metaKey) return;
    event.preventDefault();
    act();
  });
  map.addEventListener("focusin", (event) => {
    if (event.target.item && event.target.item !== current) choose(event.target.item, false);
    drawRing();
  });
  map.addEventListener("focusout", () => requestAnimationFrame(drawRing));
  const itemAt = (event) => {
    const node = event.target.closest(".cell, .layer");
    return node ? node.item : null;
  };
  map.addEventListener("click", (event) => {
    const item = itemAt(event);
    if (!item) return;
    if (item.kind === "layer") {
      choose(item);
      activate();
    } else if (opened) choose(item);
    else open(item.layer, item);
  });
  map.addEventListener("mouseover", (event) => hover(itemAt(event)));
  map.addEventListener("mouseleave", () => hover(null));
  byId("back").addEventListener("click", () => close());
  document.addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || event.defaultPrevented || event.target === filter) return;
    if (opened) close();
  });

  function hover(item) {
    if (item === hovered) return;
    if (hovered) hovered.node.classList.remove("hot");
    hovered = item;
    if (item) item.node.classList.add("hot");
    showDetails();
  }

  // ---- Details ----

  function list(pairs) {
    const made = element("dl");
    for (const [term, value, style] of pairs) {
      if (value === null) continue;
      const values = Array.isArray(value) ? value : [value];
      made.append(element("dt", {}, term), element("dd", { class: style || null }, ...values));
    }
    return made;
  }

  const tag = (text) => element("span", { class: "tag" }, text);

  function links(items) {
    if (!items.length) return "nothing";
    const shown = items.slice(0, 40).map((item) => link(item.title, item));
    if (items.length > 40) shown.push(`and ${items.length - 40} more`);
    return element("span", { class: "links" }, ...shown);
  }

  function changeText(change) {
    if (change.kind === "updated") return `updated from ${nameOf(change.old)}`;
    if (!change.causes.length) return `${change.kind}, by itself`;
    const names = [...new Set(change.causes.map(nameOf))];
    return `${change.kind}, only because of ${names.slice(0, 5).join(", ")}${names.length > 5 ? ", …" : ""}`;
  }

  function showDetails() {
    for (const node of map.querySelectorAll(".related")) node.classList.remove("related");
    const item = hovered || current;
    const details = byId("details");
    if (!item) {
      details.replaceChildren("This image has no layers.");
      return;
    }
    if (item.kind === "layer") {
      const { facts } = item;
      details.replaceChildren(
        element("h2", {}, `Layer ${facts.number} of ${layers.length} `, item.added ? tag("new") : ""),
        list([
          ["Size", `${bytes(item.size)}, ${count(item.paths.length, "path")}`],
          ["Why together", facts.why],
          ["Changes in", `${percent(item.share)} of updates, ${bytes(facts.expectedBytes)} of each`],
          ["Push", diff ? (item.added ? item.added.why : "is there already") : null],
          ["Contents", facts.contents || null],
          ["Target", facts.target],
          ["Digest", facts.digest, "mono"],
        ]),
      );
      return;
    }
    for (const other of [...item.references, ...item.referrers]) other.node.classList.add("related");
    details.replaceChildren(
      element("h2", {}, `${item.title} `, item.change ? tag(item.change.kind) : ""),
      list([
        ["Size", `${bytes(item.size)} (NAR), in layer ${item.layer.facts.number}`],
        ["Changes in", `${percent(item.share)} of updates; its layer in ${percent(item.layer.share)}`],
        ["Push", item.change ? changeText(item.change) : null],
        ["Place", item.facts.atRoot ? "copied to the root of the image" : null],
        ["Store path", item.facts.path, "mono"],
        [`References ${item.references.length}`, links(item.references)],
        [`Needed by ${item.referrers.length}`, links(item.referrers)],
      ]),
    );
  }

  // ---- Tables ----

  const shareCell = (item) =>
    element("span", { class: `swatch often${often(item.share)}` }, percent(item.share));

  function table(caption, headings, rows) {
    const head = headings.map(([text, style]) => element("th", { scope: "col", class: style }, text));
    return element(
      "table",
      {},
      element("caption", {}, caption),
      element("thead", {}, element("tr", {}, ...head)),
      element("tbody", {}, ...rows),
    );
  }

  function row(item, cells) {
    const made = element("tr", {
      onclick: () => goTo(item),
      onmouseenter: () => hover(item.node.closest("[hidden]") ? null : item),
      onmouseleave: () => hover(null),
    });
    for (const [content, style] of cells) made.append(element("td", { class: style || null }, content));
    made.item = item;
    return made;
  }

  function link(text, item) {
    const go = (event) => {
      event.stopPropagation();
      goTo(item);
    };
    return element("button", { class: "link", type: "button", onclick: go }, text);
  }

  function layerTable() {
    const shown = matches ? layers.filter((l) => l.paths.some((p) => matches.has(p))) : layers;
    const rows = shown.map((layer) => {
      const text = element("span", {}, layer.facts.contents || "", layer.added ? " " : "");
      if (layer.added) text.append(tag("new"));
      const why = layer.added ? `push: ${layer.added.why}` : layer.facts.why;
      text.append(element("span", { class: "why" }, why));
      return row(layer, [
        [link(String(layer.facts.number), layer), "number"],
        [bytes(layer.size), "number"],
        [layer.paths.length ? String(layer.paths.length) : "–", "number"],
        [shareCell(layer), "number"],
        [bytes(layer.facts.expectedBytes), "number"],
        [text],
      ]);
    });
    const headings = [
      ["#", "number"],
      ["Size", "number"],
      ["Paths", "number"],
      ["Changes", "number"],
      ["Per update", "number"],
      ["What, and why together", null],
    ];
    return table(`Layers${matches ? " with matches" : ", the lowest first"}`, headings, rows);
  }

  function pathTable(caption, items) {
    const rows = items.slice(0, LISTED).map((path) => {
      const text = element("span", {}, link(path.title, path));
      if (path.change) text.append(" ", tag(path.change.kind));
      return row(path, [
        [text],
        [bytes(path.size), "number"],
        [shareCell(path), "number"],
        [String(path.layer.facts.number), "number"],
      ]);
    });
    const headings = [
      ["Store path", null],
      ["Size", "number"],
      ["Changes", "number"],
      ["Layer", "number"],
    ];
    const more = items.length > LISTED ? `, the first ${LISTED}` : "";
    return table(`${caption}${more}`, headings, rows);
  }

  function causeTable() {
    const place = new Map(paths.map((path) => [path.facts.path, path]));
    const named = new Map(diff.changes.map((change) => [change.path || change.old, change]));
    const rows = diff.causes.slice(0, LISTED).map((cause) => {
      const change = named.get(cause.path);
      const text = change.kind === "updated"
        ? `${nameOf(change.old)} → ${nameOf(change.path)}`
        : nameOf(cause.path);
      const item = place.get(cause.path);
      return element(
        "tr",
        item ? { onclick: () => goTo(item) } : {},
        element("td", {}, item ? link(text, item) : text, " ", tag(change.kind)),
        element("td", { class: "number" }, cause.followers ? String(cause.followers) : "–"),
        element("td", { class: "number" }, item ? bytes(cause.narBytes) : "–"),
      );
    });
    const headings = [
      ["What changed by itself", null],
      ["Others with it", "number"],
      ["Size", "number"],
    ];
    return table("Why layers are pushed", headings, rows);
  }

  function showTables() {
    const made = [];
    if (opened) {
      const items = matches ? opened.paths.filter((path) => matches.has(path)) : opened.paths;
      made.push(pathTable(`Store paths of layer ${opened.facts.number}`, items));
    } else {
      if (matches) {
        const found = paths.filter((path) => matches.has(path)).sort((a, b) => b.size - a.size);
        made.push(pathTable("Store paths that match", found));
      }
      if (diff && diff.causes.length && !matches) made.push(causeTable());
      made.push(layerTable());
    }
    byId("tables").replaceChildren(...made);
    byId("place").textContent = opened
      ? `Layer ${opened.facts.number}: ${count(opened.paths.length, "store path")}`
      : `${count(layers.length, "layer")}, ${count(paths.length, "store path")}`;
    markRows();
  }

  function markRows() {
    for (const line of byId("tables").querySelectorAll("tr")) {
      line.classList.toggle("current", Boolean(current) && line.item === current);
    }
  }

  // ---- Filter ----

  const filter = byId("filter");
  function search() {
    const words = filter.value.trim().toLowerCase().split(/\s+/).filter(Boolean);
    const fits = (path) => words.every((word) => path.search.includes(word));
    matches = words.length ? new Set(paths.filter(fits)) : null;
    for (const path of paths) path.node.classList.toggle("dim", Boolean(matches) && !matches.has(path));
    for (const layer of layers) {
      const none = Boolean(matches) && !layer.paths.some((path) => matches.has(path));
      layer.node.classList.toggle("dim", none);
    }
    const size = [...(matches || [])].reduce((sum, path) => sum + path.size, 0);
    byId("found").textContent = matches
      ? `${matches.size} of ${count(paths.length, "path")}, ${bytes(size)}`
      : "";
    showTables();
  }
  filter.addEventListener("input", search);
  filter.addEventListener("keydown", (event) => {
    if (event.key === "Escape") {
      filter.value = "";
      search();
      event.preventDefault();
    } else if (event.key === "Enter" && matches && matches.size) {
      goTo([...matches].sort((a, b) => b.size - a.size)[0]);
    }
  });

  // ---- The frame ----

  function legend() {
    const swatches = OFTEN.map((end, index) =>
      element(
        "span",
        { class: `swatch often${index}` },
        index < OFTEN.length - 1 ? `≤ ${100 * end} %` : `> ${100 * OFTEN[index - 1]} %`,
      ),
    );
    const marks = diff ? [element("span", { class: "swatch often0 changed" }, "+ changed")] : [];
    byId("legend").append(element("span", {}, "Changes in"), ...swatches, element("span", {}, "of updates"), ...marks);
  }

  document.title = `Layers of ${data.name}`;
  byId("name").textContent = data.name;
  byId("summary").append(
    element("strong", {}, bytes(data.size)),
    ` in ${count(layers.length, "layer")} with ${count(paths.length, "store path")}. An update is expected to push `,
    element("strong", {}, bytes(data.expectedBytes)),
    `; with each path alone it would be ${bytes(data.idealBytes)}.`,
  );
  if (diff) {
    byId("push").hidden = false;
    byId("push").append(
      "From the old image, a push uploads ",
      element("strong", {}, bytes(diff.pushBytes)),
      `: ${count(diff.new.length, "new layer")}, of which ${bytes(diff.changedBytes)} in paths that changed. ` +
        `${diff.kept.length} kept, ${diff.gone.length} gone.`,
    );
  }
  legend();
  showTables();
  choose(current, false);
  new ResizeObserver(draw).observe(map);
  draw();
})();
