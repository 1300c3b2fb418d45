//! The `config-gen` program.

fn main() -> std::process::ExitCode {
    config_gen::cli::main()
}
