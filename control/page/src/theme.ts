// Dark or light: as the system wants it, until somebody chooses.

const KEY = "portolan-theme";

export function themeButton(button: HTMLElement) {
  const system = matchMedia("(prefers-color-scheme: dark)");
  const now = () => document.documentElement.dataset.theme ?? (system.matches ? "dark" : "light");
  const chosen = read();
  if (chosen === "dark" || chosen === "light") document.documentElement.dataset.theme = chosen;
  button.addEventListener("click", () => {
    const next = now() === "dark" ? "light" : "dark";
    document.documentElement.dataset.theme = next;
    write(next);
  });
}

// Where storage is forbidden, the choice lasts as long as the page.
function read(): string | null {
  try {
    return localStorage.getItem(KEY);
  } catch {
    return null;
  }
}

function write(theme: string) {
  try {
    localStorage.setItem(KEY, theme);
  } catch {
    // See above.
  }
}
