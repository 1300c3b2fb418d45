// The editor of the resources, and views of what is written from them.
import { closeBrackets, closeBracketsKeymap } from "@codemirror/autocomplete";
import { defaultKeymap, history, historyKeymap, indentWithTab } from "@codemirror/commands";
import { json } from "@codemirror/lang-json";
import { yaml } from "@codemirror/lang-yaml";
import { HighlightStyle, bracketMatching, foldGutter, foldKeymap, indentOnInput, indentUnit, syntaxHighlighting } from "@codemirror/language";
import { type Diagnostic, lintGutter, lintKeymap, setDiagnostics } from "@codemirror/lint";
import { highlightSelectionMatches, searchKeymap } from "@codemirror/search";
import { EditorState, type Extension } from "@codemirror/state";
import { EditorView, drawSelection, highlightActiveLine, highlightActiveLineGutter, keymap, lineNumbers } from "@codemirror/view";
import { tags } from "@lezer/highlight";
import type { Finding } from "@portolan/control/web";
import { h, sentence } from "./dom";

// Colours are variables of the style sheet, so that dark and light need no other theme.
const colours = HighlightStyle.define([
  { tag: [tags.propertyName, tags.definition(tags.propertyName)], color: "var(--syntax-key)" },
  { tag: [tags.string, tags.content], color: "var(--syntax-text)" },
  { tag: [tags.number, tags.bool, tags.null, tags.keyword], color: "var(--syntax-value)" },
  { tag: [tags.comment, tags.lineComment], color: "var(--syntax-comment)", fontStyle: "italic" },
  { tag: [tags.punctuation, tags.separator, tags.meta], color: "var(--muted)" },
]);

const look: Extension = [syntaxHighlighting(colours), lineNumbers(), foldGutter(), highlightSelectionMatches(), bracketMatching()];

/** An editor for YAML. `changed` hears of what the user types, not of `setText`. */
export class Editor {
  readonly #view: EditorView;
  #silent = false;

  constructor(parent: HTMLElement, changed: () => void) {
    this.#view = new EditorView({
      parent,
      extensions: [
        look,
        yaml(),
        lintGutter(),
        history(),
        drawSelection(),
        indentOnInput(),
        indentUnit.of("  "),
        closeBrackets(),
        highlightActiveLine(),
        highlightActiveLineGutter(),
        EditorState.tabSize.of(2),
        keymap.of([...closeBracketsKeymap, ...defaultKeymap, ...searchKeymap, ...historyKeymap, ...foldKeymap, ...lintKeymap, indentWithTab]),
        EditorView.contentAttributes.of({ "aria-labelledby": "editor-title", "aria-describedby": "editor-hint" }),
        EditorView.updateListener.of((update) => {
          if (update.docChanged && !this.#silent) changed();
        }),
      ],
    });
  }

  get text(): string {
    return this.#view.state.doc.toString();
  }

  setText(text: string) {
    this.#silent = true;
    this.#view.dispatch({ changes: { from: 0, to: this.#view.state.doc.length, insert: text }, selection: { anchor: 0 }, scrollIntoView: true });
    this.#silent = false;
  }

  /** Shows findings at their places, if the text is still what they are about. */
  mark(findings: Finding[]) {
    const length = this.#view.state.doc.length;
    const marks = findings.flatMap((finding): Diagnostic[] => {
      if (finding.from === undefined || finding.to === undefined) return [];
      const from = Math.min(finding.from, length);
      return [{
        from,
        to: Math.min(Math.max(finding.to, from), length),
        severity: finding.severity === "note" ? "info" : finding.severity,
        source: finding.code,
        message: finding.message,
        renderMessage: () => h("span", {}, sentence(finding.message), finding.help ? h("span", { className: "help" }, "→ ", sentence(finding.help)) : null),
      }];
    });
    this.#view.dispatch(setDiagnostics(this.#view.state, marks));
  }

  /** Puts the cursor at an offset, or at the start of a line. */
  goTo(place: { from: number } | { line: number }) {
    const { doc } = this.#view.state;
    const at = "from" in place ? place.from : doc.line(Math.min(place.line, doc.lines)).from;
    const anchor = Math.min(at, doc.length);
    this.#view.dispatch({ selection: { anchor }, effects: EditorView.scrollIntoView(anchor, { y: "center" }) });
    this.#view.focus();
  }
}

/** What was written, to be read and copied: drawn as far as it is in view, however long it is. */
export class Viewer {
  readonly #view: EditorView;

  constructor(parent: HTMLElement, label: string, language: "json" | "yaml") {
    this.#view = new EditorView({
      parent,
      extensions: [
        look,
        language === "json" ? json() : yaml(),
        keymap.of([...searchKeymap, ...foldKeymap]),
        EditorState.readOnly.of(true),
        EditorView.editable.of(false),
        EditorView.contentAttributes.of({ "aria-label": label, tabindex: "0" }),
      ],
    });
  }

  get text(): string {
    return this.#view.state.doc.toString();
  }

  setText(text: string) {
    if (text !== this.text) this.#view.dispatch({ changes: { from: 0, to: this.#view.state.doc.length, insert: text } });
  }
}
