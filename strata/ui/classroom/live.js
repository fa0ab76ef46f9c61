// What a class shares: the vote, a call to another page, that the class is closed. All of it comes
// over one socket that outlives the pages of this browser tab. Words are hostile text: they only
// ever become text nodes.
const GO_AFTER = 8; // seconds in which a call can be declined
const memory = (name, value) => {
  try {
    if (value === undefined) return JSON.parse(sessionStorage.getItem(name));
    sessionStorage.setItem(name, JSON.stringify(value));
  } catch {
    return null; // a browser without storage asks once more
  }
};
const live = (window.strataLive ??= {
  screen: {},
  root: null,
  socket: null,
  tries: 0,
  draft: {},
  sending: new Set(), // keys of ballots
});

const made = (name, className, text) => {
  const element = document.createElement(name);
  if (className) element.className = className;
  if (text !== undefined) element.textContent = text;
  return element;
};
const button = (className, text, press) => {
  const element = made("button", className, text);
  element.type = "button";
  element.onclick = press;
  return element;
};

function connect() {
  if (live.socket) return;
  const zone = encodeURIComponent(Intl.DateTimeFormat().resolvedOptions().timeZone ?? "");
  const socket = new WebSocket(`${location.origin.replace("http", "ws")}/live?zone=${zone}`);
  live.socket = socket;
  socket.onmessage = (event) => {
    live.tries = 0;
    const { who, mine, ...screen } = JSON.parse(event.data);
    if (who) meet(who);
    for (const [round, guess] of Object.entries(mine ?? {}))
      if (!waits(`vote ${screen.vote.id} ${round}`)) // else a later one is on its way
        memory(`vote ${screen.vote.id} ${round}`, { guess, kept: true });
    if (live.screen.closed && !screen.closed) return location.reload(); // open again
    live.screen = screen;
    live.ends = screen.left === undefined ? null : performance.now() + 1000 * screen.left;
    draw();
    const now = `${screen.vote?.id} ${screen.vote?.phase} ${screen.call?.id}`;
    if (live.told !== undefined && live.told !== now && live.root?.childElementCount)
      live.root.scrollIntoView({ block: "nearest", behavior: "smooth" });
    live.told = now;
    if (screen.vote) for (const round of [1, 2]) send(screen.vote.id, round);
  };
  socket.onclose = () => {
    if (live.screen.gone) return; // nobody who could be told anything
    live.socket = null;
    // A class comes back one by one after a restart, not all at once.
    const wait = Math.min(10, 2 ** live.tries++) * (0.5 + Math.random());
    setTimeout(connect, 1000 * wait);
  };
}

function meet(who) {
  // On a shared computer the one before has left this tab's memory behind.
  if ((live.who ?? memory("who")) === who) return;
  live.who = who; // also where a browser has no storage, and what is being typed stays
  try {
    sessionStorage.clear();
  } catch {
    // there is none
  }
  memory("who", who);
  live.draft = {};
  live.again = null;
}

const waits = (name) => {
  // Whether a ballot was handed in of which nobody has said that it is kept, or never will be.
  const { key, kept, refused } = memory(name) ?? {};
  return Boolean(key) && !kept && !refused;
};

async function send(vote, round) {
  // Also one that the page before this one has not been rid of.
  const name = `vote ${vote} ${round}`;
  const { guess, key } = memory(name) ?? {};
  if (!waits(name) || live.sending.has(key)) return;
  live.sending.add(key);
  const body = JSON.stringify({ vote, round, guess, key, who: memory("who") });
  const say = (state) => {
    if (memory(name)?.key === key) memory(name, { ...memory(name), ...state });
    draw();
  };
  for (let tries = 0; memory(name)?.key === key && waits(name); tries++) {
    try {
      const answer = await fetch("/live/vote", { method: "POST", body });
      const said = await answer.json();
      if (answer.ok) say({ kept: true, wrong: "" });
      else say({ wrong: said.wrong, refused: ![429, 503].includes(answer.status) });
    } catch {
      say({ wrong: "Not kept yet: the server does not answer. It is tried again." });
    }
    if (waits(name)) await new Promise((done) => setTimeout(done, 1000 * Math.min(10, 1 + tries)));
  }
  live.sending.delete(key);
}

function commit(vote, guess) {
  const key = [...crypto.getRandomValues(new Uint8Array(12))].map((b) => b.toString(16)).join("-");
  memory(`vote ${vote.id} ${vote.round}`, { guess, key });
  delete live.draft[vote.id + vote.round];
  draw();
  send(vote.id, vote.round);
}

const inWords = (vote, guess) => {
  if (vote.kind === "choice") return vote.options[guess];
  if (typeof guess !== "number") return `“${guess}”`;
  if (vote.unit === "%") return `${+(100 * guess).toPrecision(4)} %`;
  return `${+guess.toPrecision(4)} ${vote.unit}`.trim();
};

function field(vote) {
  // What is being typed outlives a change of the screen.
  const kept = vote.id + vote.round;
  const change = (value) => (live.draft[kept] = value);
  const form = made("form", "field");
  if (vote.kind === "choice") {
    vote.options.forEach((text, i) => {
      const label = made("label", "option");
      const input = made("input");
      Object.assign(input, { type: "radio", name: "vote", checked: live.draft[kept] === i });
      input.onchange = () => change(i);
      label.append(input, made("b", "", String.fromCharCode(65 + i)), made("span", "", text));
      form.append(label);
    });
  } else if (vote.kind === "token") {
    const input = made("input", "word");
    Object.assign(input, { type: "text", maxLength: vote.longest, value: live.draft[kept] ?? "" });
    input.placeholder = "A word or token";
    input.required = true;
    input.setAttribute("aria-label", "Your answer: a word or token");
    input.oninput = () => change(input.value.trim() || undefined);
    form.append(input);
  } else {
    const input = made("input", "range");
    const middle = vote.low + vote.step * Math.round((vote.high - vote.low) / 2 / vote.step);
    const { low: min, high: max, step } = vote;
    Object.assign(input, { type: "range", min, max, step, value: live.draft[kept] ?? middle });
    input.setAttribute("aria-label", "Your answer");
    const shown = made("output", "", inWords(vote, +input.value));
    input.oninput = () => {
      change(+input.value);
      shown.textContent = inWords(vote, +input.value);
    };
    change(+input.value);
    form.append(input, shown);
  }
  const hand = button("main", "Vote");
  hand.type = "submit";
  form.onsubmit = (event) => {
    event.preventDefault();
    if (live.draft[kept] !== undefined) commit(vote, live.draft[kept]);
  };
  form.append(hand);
  return form;
}

function bars(vote) {
  const table = made("div", "bars");
  const rounds = vote.results[0]?.learners.length ?? 0;
  const totals = [...Array(rounds).keys()].map((n) =>
    vote.results.reduce((sum, bar) => sum + bar.learners[n], 0),
  );
  vote.results.forEach((bar) => {
    const row = made("div", bar.right ? "bar right" : "bar");
    row.append(made("span", "label", bar.right ? `✓ ${bar.label}` : bar.label));
    const lines = made("div", "lines");
    bar.learners.forEach((count, n) => {
      const line = made("div", n === rounds - 1 ? "line latest" : "line");
      line.style.setProperty("--share", totals[n] ? count / totals[n] : 0);
      line.append(made("i", ""), made("span", "", String(count)));
      lines.append(line);
    });
    row.append(lines);
    table.append(row);
  });
  if (rounds > 1) table.append(made("p", "quiet", "Upper bars: the first vote; lower: the second."));
  return table;
}

function votePanel(vote) {
  const panel = made("section", "panel vote");
  panel.setAttribute("aria-label", "Vote");
  const round = (n) => memory(`vote ${vote.id} ${n}`);
  const mine = vote.round ? round(vote.round) : (vote.phase === "done" && round(2)) || round(1);
  const titles = { first: "Vote", talk: "The vote is closed", second: "Vote again", done: "The vote is over" };
  // Folded, it leaves the page to its reader, until there is something new.
  const folded = `folded ${vote.id} ${vote.phase} ${Boolean(vote.results)}`;
  const head = made("div", "head");
  const fold = button("plain", memory(folded) ? "Unfold" : "Fold", () => {
    memory(folded, !memory(folded));
    draw();
  });
  head.append(made("h3", "", titles[vote.phase]), fold);
  panel.append(head);
  if (memory(folded)) return panel;
  if (vote.prompt) panel.append(made("p", "prompt", `About the prompt “${vote.prompt}”`));
  panel.append(made("p", "ask", vote.ask));
  if (vote.round && live.screen.called)
    panel.append(made("p", "quiet", `Where names are hidden you are ${live.screen.called}`));
  if (vote.round && (!mine || live.again === vote.id + vote.round)) panel.append(field(vote));
  const first = vote.round === 2 && round(1);
  if (first && !mine) panel.append(made("p", "quiet", `Your first vote: ${inWords(vote, first.guess)}`));
  if (mine) {
    const said = mine.kept ? "Your vote" : mine.wrong ? "Your vote, not kept" : "Your vote, being kept";
    panel.append(made("p", "mine", `${said}: ${inWords(vote, mine.guess)}`));
    if (mine.wrong) panel.append(made("p", "wrong", mine.wrong));
  }
  if (vote.round && mine && live.again !== vote.id + vote.round) {
    const again = () => {
      live.again = vote.id + vote.round;
      live.draft[live.again] = mine.guess;
      draw();
    };
    panel.append(button("plain", "Change it", again));
  }
  if (vote.phase === "talk")
    panel.append(made("p", "", "Talk it over: find someone who answered differently, and convince each other."));
  if (vote.results) panel.append(bars(vote));
  return panel;
}

function clockPanel() {
  // What is left of the teacher's time; who cannot see is not told every second of it.
  const panel = made("section", "panel clock");
  panel.setAttribute("aria-label", "Timer");
  const shown = made("output");
  shown.setAttribute("role", "timer");
  shown.setAttribute("aria-live", "off");
  const tell = () => {
    const left = Math.ceil(Math.max(0, live.ends - performance.now()) / 1000);
    const time = `${Math.floor(left / 60)}:${String(left % 60).padStart(2, "0")}`;
    shown.textContent = left ? `Time left: ${time}` : "The time is up";
    panel.classList.toggle("soon", left <= 10);
    if (performance.now() > live.ends + 60_000) panel.remove();
  };
  clearInterval(live.ticks);
  live.ticks = setInterval(() => (shown.isConnected ? tell() : clearInterval(live.ticks)), 250);
  tell();
  panel.append(shown);
  return panel;
}

function gonePanel(text) {
  const panel = made("section", "panel gone");
  panel.setAttribute("role", "alert");
  const way = made("a", "main", "Join a class");
  way.href = "/join";
  panel.append(made("h3", "", text), way);
  return panel;
}

function takenBack(call) {
  // Of a call that was followed: the way back to where one was.
  const from = memory("came from");
  if (memory("followed call") !== call.undone || !from) return null;
  const panel = made("section", "panel call");
  panel.setAttribute("aria-label", "Your teacher has taken the call back");
  panel.append(made("h3", "", "Your teacher has taken that call back"));
  const back = () => {
    memory("followed call", call.id);
    location.assign(from);
  };
  const stay = () => {
    memory("declined call", call.id);
    draw();
  };
  panel.append(button("main", "Back to where I was", back), button("plain", "Stay here", stay));
  return panel;
}

function callPanel(call) {
  if (memory("declined call") === call.id || memory("followed call") === call.id) return null;
  if (call.undone) return takenBack(call);
  const panel = made("section", "panel call");
  panel.setAttribute("aria-label", "Your teacher calls");
  panel.append(made("h3", "", `Your teacher brings everyone to ${call.title}`));
  if (call.prompt) panel.append(made("p", "prompt", `“${call.prompt}”`));
  const go = () => {
    memory("followed call", call.id);
    memory("came from", location.href);
    location.assign(call.path + (call.query ? `?${call.query}` : ""));
  };
  const left = made("span", "quiet");
  const ways = made("div", "ways");
  ways.append(
    button("main", "Go there", go),
    button("plain", "Stay here", () => {
      memory("declined call", call.id);
      draw();
    }),
    left,
  );
  panel.append(ways);
  live.goes ??= {};
  const ends = (live.goes[call.id] ??= Date.now() + 1000 * GO_AFTER);
  clearInterval(live.timer);
  live.timer = setInterval(() => {
    const seconds = Math.ceil((ends - Date.now()) / 1000);
    // Nobody is taken away from what they are writing.
    const busy = document.activeElement;
    const writes = busy?.tagName === "TEXTAREA" && busy.value;
    left.textContent = writes ? "waits, since you are writing" : `in ${Math.max(0, seconds)} s`;
    if (!left.isConnected) clearInterval(live.timer);
    else if (seconds <= 0 && !writes) {
      clearInterval(live.timer);
      go();
    }
  }, 250);
  return panel;
}

function cover(figures) {
  // Known to the next page of this tab before its figures are drawn.
  if (Boolean(memory("covers")) !== figures) memory("covers", figures);
  document.getElementById("strata-cover")?.setAttribute("media", figures ? "all" : "not all");
}

function draw() {
  const { root, screen } = live;
  if (!root) return;
  if (live.again && live.again !== (screen.vote?.id ?? "") + (screen.vote?.round ?? "")) live.again = null;
  if (live.again && memory(`vote ${screen.vote.id} ${screen.vote.round}`)?.key && live.draft[live.again] === undefined)
    live.again = null; // what was changed has been handed in
  const panels = [];
  if (screen.closed) {
    const panel = made("section", "panel");
    const other = made("a", "", "Join another class");
    other.href = "/join";
    const said = "What you did is kept. This page goes on by itself as soon as the class opens.";
    panel.append(made("h3", "", screen.closed), made("p", "", said), other);
    panels.push(panel);
  }
  if (screen.gone) panels.push(gonePanel(screen.gone));
  if (screen.call) panels.push(callPanel(screen.call));
  if (live.ends && performance.now() < live.ends + 60_000) panels.push(clockPanel());
  if (screen.vote) panels.push(votePanel(screen.vote));
  const shown = panels.filter(Boolean);
  const focused = root.getRootNode().activeElement;
  const typing = focused && root.contains(focused) ? [...root.querySelectorAll("input, button")].indexOf(focused) : -1;
  root.replaceChildren(...shown);
  if (typing >= 0) root.querySelectorAll("input, button")[typing]?.focus({ preventScroll: true });
  document.documentElement.toggleAttribute("data-strata-live", shown.length > 0);
  const hides = screen.vote && !(screen.vote.results && screen.vote.phase === "done");
  document.documentElement.toggleAttribute("data-strata-votes", Boolean(hides));
  cover(Boolean(hides && screen.vote.covers));
}

export default function ({ parentElement }) {
  let root = parentElement.querySelector(".root");
  if (!root) {
    root = made("div", "root");
    root.setAttribute("role", "status");
    parentElement.appendChild(root);
  }
  live.root = root;
  connect();
  if ("revision" in live.screen) draw();
  else cover(Boolean(memory("covers"))); // not told yet
}
