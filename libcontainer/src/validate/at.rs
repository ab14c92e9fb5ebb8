//! Where a check is in the document, written out only when something is wrong.

use crate::error::{ConfigError, FieldPath, Problem};

/// A place in `config.json`, as a chain of borrowed steps: following it costs no allocation.
#[derive(Debug, Clone, Copy)]
pub(crate) struct At<'a> {
    parent: Option<&'a At<'a>>,
    step: Step<'a>,
}

#[derive(Debug, Clone, Copy)]
enum Step<'a> {
    Path(&'a FieldPath),
    Field(&'a str),
    Index(usize),
}

impl<'a> At<'a> {
    /// The top-level member `name`.
    pub(crate) const fn top(name: &'a str) -> At<'a> {
        At { parent: None, step: Step::Field(name) }
    }

    /// A place that is already written out.
    pub(crate) const fn path(path: &'a FieldPath) -> At<'a> {
        At { parent: None, step: Step::Path(path) }
    }

    /// The member `name` of this object.
    pub(crate) const fn field<'b>(&'b self, name: &'b str) -> At<'b> {
        At { parent: Some(self), step: Step::Field(name) }
    }

    /// Element `i` of this array.
    pub(crate) const fn index(&self, i: usize) -> At<'_> {
        At { parent: Some(self), step: Step::Index(i) }
    }

    /// The path, written out.
    pub(crate) fn to_path(self) -> FieldPath {
        let base = self.parent.map_or_else(FieldPath::root, |parent| parent.to_path());
        match self.step {
            Step::Path(path) => path.clone(),
            Step::Field(name) => base.field(name),
            Step::Index(i) => base.index(i),
        }
    }

    /// An error about this place.
    pub(crate) fn err(self, problem: Problem) -> ConfigError {
        ConfigError::new(self.to_path(), problem)
    }
}
