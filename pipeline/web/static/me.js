// Who is logged in, and the way out; where nobody has to log in there is neither.
export async function me() {
  const answer = await fetch("/api/me");
  if (answer.status === 401) location.assign(`/login?next=${encodeURIComponent(location.pathname + location.search)}`);
  return answer.ok ? (await answer.json()).name : null;
}

export const who = me().catch(() => null); // a promise: no page waits for it

who.then((name) => {
  if (name === null) return;
  const form = document.createElement("form");
  form.method = "post";
  form.action = "/logout";
  const button = document.createElement("button");
  button.textContent = `Log out ${name}`;
  form.append(button);
  document.querySelector("header").append(form);
});
