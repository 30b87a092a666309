// What people say: a dialog, and the request that it becomes. What was typed stays until it has been taken.
import { make } from "/static/common.js";
import { who } from "/static/me.js";

const at = (id) => document.getElementById(`say-${id}`);
const dialog = document.getElementById("say");
let send = null;
at("by").value = localStorage.by ?? "";
who.then((name) => {
  if (name !== null) Object.assign(at("by"), { value: name, readOnly: true });
});
at("not").addEventListener("click", () => dialog.close());

export function field(kind, label, values = {}) {
  return Object.assign(make(kind, "", make("label", "", at("fields"), `${label} `)), values);
}

// Open the dialog; `fields()` makes what is to be filled in and gives a function of what it then says: [address, body].
export function say(what, where, fields, done) {
  at("what").textContent = what;
  at("where").textContent = where;
  at("wrong").textContent = "";
  at("fields").replaceChildren();
  const body = fields();
  send = async () => {
    const [address, said] = body();
    const by = at("by").value.trim();
    localStorage.by = by;
    const answer = await fetch(address, {
      method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify({ ...said, by }),
    });
    const told = await answer.json().catch(() => ({ error: `the board's server answers ${answer.status}` }));
    if (!answer.ok) throw new Error(told.error);
    done(told);
  };
  dialog.showModal();
}

// What has been sent is told for a while, beside how old the figures are.
let said = { text: "", until: 0 };
export function note(text) {
  said = { text, until: Date.now() + 10000 };
  document.getElementById("told").textContent = text;
}
export const noted = () => (Date.now() < said.until ? said.text : "");

document.getElementById("say-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  at("send").disabled = true;
  at("wrong").textContent = "Sending";
  try {
    await send();
    dialog.close();
  } catch (error) {
    const away = error instanceof TypeError; // fetch itself: nobody answers
    at("wrong").textContent = `It did not work: ${away ? "the board's server does not answer" : error.message}`;
  }
  at("send").disabled = false;
});
