//! The floor starts as corten does, so that the two differ by what corten decides.

#[path = "../../runtime-cli/build/start.rs"]
mod start;

fn main() {
    start::without_questions(std::path::Path::new("../../runtime-cli/src/sys"));
}
