//! The package in a Node of its own, which answers one call on each line.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::{Value, json};

/// Loads the package by its name, as a program that depends on it does.
const DRIVER: &str = r#"
import { createInterface } from "node:readline";
import * as portolan from "@portolan/control";
for await (const line of createInterface({ input: process.stdin })) {
  const { call, arguments: values } = JSON.parse(line);
  let answer;
  try {
    answer = { answer: portolan[call](...values) };
  } catch (error) {
    answer = { thrown: String(error) };
  }
  process.stdout.write(JSON.stringify(answer) + "\n");
}
"#;

pub(crate) struct Package {
    node: Child,
    questions: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Package {
    pub(crate) fn start() -> Self {
        let package = crate::root().join("control/pkg");
        assert!(package.join("package.json").exists(), "there is no control/pkg: run `make control`");
        let mut node = Command::new("node")
            .args(["--input-type=module", "-e", DRIVER])
            // Where its own name leads to it.
            .current_dir(package)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("node can't be started: run `make control`");
        let questions = node.stdin.take().unwrap();
        let answers = BufReader::new(node.stdout.take().unwrap());
        Self { node, questions, answers }
    }

    /// What the function of that name returns.
    pub(crate) fn call(&mut self, call: &str, arguments: &[&Value]) -> Value {
        writeln!(self.questions, "{}", json!({"call": call, "arguments": arguments})).unwrap();
        let mut line = String::new();
        self.answers.read_line(&mut line).unwrap();
        let mut answer: Value = serde_json::from_str(&line).expect("node ended early");
        assert!(answer.get("thrown").is_none(), "{call} threw {}", answer["thrown"]);
        answer["answer"].take()
    }
}

impl Drop for Package {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.node.kill();
        let _ = self.node.wait();
    }
}
