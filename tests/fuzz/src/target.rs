//! What a fuzz target is.

type Run = dyn Fn(&[u8]);

/// A function that any input may be given to.
pub struct Target {
    /// Its name on the command line, and that of its corpus.
    pub name: String,
    /// What it feeds, in a line.
    pub about: String,
    /// Inputs that go deep, to start from.
    pub seeds: Vec<Vec<u8>>,
    run: Box<Run>,
}

impl Target {
    /// A target; `run` panics where something does not hold.
    pub fn new(name: &str, about: &str, seeds: Vec<Vec<u8>>, run: impl Fn(&[u8]) + 'static) -> Self {
        Self { name: name.to_owned(), about: about.to_owned(), seeds, run: Box::new(run) }
    }

    /// Runs it on one input.
    pub fn run(&self, input: &[u8]) {
        (self.run)(input);
    }
}
