//! One path, and who runs it.

use crate::clock::Cost;
use crate::fixture::Scale;

/// One way to do a path's work.
pub struct Contender<'a> {
    /// What it is.
    pub name: &'static str,
    /// Does the work once; returns its result, which must be the same for all, and what it cost.
    pub run: Box<dyn FnMut() -> (u64, Cost) + 'a>,
}

/// A path of Almanac beside others.
pub struct Contest<'a> {
    /// Its name.
    pub name: &'static str,
    /// What it works on.
    pub input: String,
    /// What is counted: `frames`, `events`.
    pub unit: &'static str,
    /// How many of them one run works through.
    pub units: u64,
    /// How often each contender runs, outside of tests.
    pub rounds: usize,
    /// Almanac first.
    pub contenders: Vec<Contender<'a>>,
}

/// What a contest found.
pub struct Outcome {
    /// The path's name.
    pub name: &'static str,
    /// What it worked on.
    pub input: String,
    /// What was counted.
    pub unit: &'static str,
    /// Rounds run.
    pub rounds: usize,
    /// One for each contender, Almanac first.
    pub rows: Vec<Row>,
}

/// One contender's figures.
pub struct Row {
    /// Who.
    pub name: &'static str,
    /// Units a second of CPU time, in its best round.
    pub per_cpu_second: f64,
    /// Units a second of wall time, in its best round.
    pub per_wall_second: f64,
    /// How many times its CPU time Almanac's work fits into: of the best rounds, and the lowest and highest of the
    /// rounds taken one by one.
    pub almanac_is: (f64, f64, f64),
}

impl Contest<'_> {
    /// Runs all contenders in turns.
    ///
    /// # Panics
    /// When two contenders disagree about the result: then they do not do the same work.
    pub fn run(mut self, scale: Scale) -> Outcome {
        let rounds = if scale == Scale::Test { 1 } else { self.rounds };
        let mut costs: Vec<Vec<Cost>> = self.contenders.iter().map(|_| Vec::new()).collect();
        let mut agreed = None;
        for round in 1..=rounds {
            eprintln!("{}: round {round} of {rounds}", self.name);
            for (contender, costs) in self.contenders.iter_mut().zip(&mut costs) {
                let (result, cost) = (contender.run)();
                let expected = *agreed.get_or_insert(result);
                assert_eq!(result, expected, "{}: {} disagrees", self.name, contender.name);
                costs.push(cost);
            }
        }
        // Nothing slows work down less than nothing: the best round is the one least disturbed.
        let best = |costs: &[Cost], of: fn(&Cost) -> f64| costs.iter().map(of).fold(f64::INFINITY, f64::min).max(1e-9);
        let cpu = |cost: &Cost| cost.cpu.as_secs_f64();
        let almanac = costs[0].clone();
        let row = |(contender, costs): (&Contender<'_>, &Vec<Cost>)| {
            let each = || costs.iter().zip(&almanac).map(|(other, own)| cpu(other) / cpu(own).max(1e-9));
            Row {
                name: contender.name,
                per_cpu_second: self.units as f64 / best(costs, cpu),
                per_wall_second: self.units as f64 / best(costs, |cost| cost.wall.as_secs_f64()),
                almanac_is: (
                    best(costs, cpu) / best(&almanac, cpu),
                    each().fold(f64::INFINITY, f64::min),
                    each().fold(0.0, f64::max),
                ),
            }
        };
        let rows = self.contenders.iter().zip(&costs).map(row).collect();
        Outcome { name: self.name, input: self.input, unit: self.unit, rounds, rows }
    }
}
