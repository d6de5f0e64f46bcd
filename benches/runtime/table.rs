//! The table: each figure beside those of the peers and beside its target.

use crate::Options;
use crate::machine;
use crate::measures::{MEASURES, Measure, Row, Target};
use crate::run::Outcome;

pub(crate) fn print(options: &Options) {
    println!(
        "{} workers, median of {} rounds (in brackets: times Bobbin's)",
        options.workers, options.rounds
    );
    let names: Vec<&str> = options.peers.iter().map(|peer| peer.name.as_str()).collect();
    let cpus = || machine::cpus_to_be_had(options.workers);
    let cpus_before = cpus();
    println!();
    let mut head = vec!["", "target", names[0], "met"];
    head.extend(&names[1..]);
    print_line(&head);
    print_line(&vec!["---"; head.len()]);
    let (mut met, mut missed) = (0, Vec::new());
    for measure in MEASURES.iter().filter(|measure| options.wants(measure)) {
        let outcomes = run_all(options, measure);
        for (index, row) in measure.rows.iter().enumerate() {
            let figures: Vec<Figure> = outcomes.iter().map(|rounds| Figure::of(rounds, index)).collect();
            let own = figures[0].value();
            let is_met = verdict(row, &names, &figures);
            match is_met {
                Some(true) => met += 1,
                Some(false) => missed.push(row.name),
                None => {}
            }
            let mut cells =
                vec![row.name.to_owned(), row.targets.iter().map(describe).collect::<Vec<_>>().join(", ")];
            cells.push(figures[0].show(None));
            cells.push(is_met.map_or("", |is_met| if is_met { "yes" } else { "no" }).to_owned());
            cells.extend(figures[1..].iter().map(|figure| figure.show(own)));
            print_line(&cells);
        }
    }
    println!("\n{met} targets met, {} missed", missed.len());
    missed.iter().for_each(|name| println!("missed: {name}"));
    println!("CPUs that {} busy threads got: {cpus_before:.2} before, {:.2} after", options.workers, cpus());
}

/// For each peer what came out of each round.
fn run_all(options: &Options, measure: &Measure) -> Vec<Vec<Outcome>> {
    let count = if options.quick { measure.quick } else { measure.count };
    let mut outcomes = vec![Vec::new(); options.peers.len()];
    for _ in 0..options.rounds.min(measure.rounds_max) {
        for (peer, outcomes) in options.peers.iter().zip(&mut outcomes) {
            // Who fails or has nothing is not asked again.
            if outcomes.iter().all(|outcome| matches!(outcome, Outcome::Figures(_))) {
                outcomes.push(peer.run(measure, count, options.workers));
            }
        }
    }
    outcomes
}

/// A cell of the table.
enum Figure {
    Median(f64),
    Nothing,
    Failed,
}

impl Figure {
    fn of(rounds: &[Outcome], index: usize) -> Self {
        let mut figures = Vec::new();
        for outcome in rounds {
            match outcome {
                Outcome::Figures(all) => figures.extend(all.get(index).filter(|figure| figure.is_finite())),
                Outcome::Nothing => return Figure::Nothing,
                Outcome::Failed => return Figure::Failed,
            }
        }
        median(figures).map_or(Figure::Nothing, Figure::Median)
    }

    fn value(&self) -> Option<f64> {
        if let Figure::Median(figure) = self { Some(*figure) } else { None }
    }

    fn show(&self, own: Option<f64>) -> String {
        match (self, own) {
            (Figure::Nothing, _) => String::new(),
            (Figure::Failed, _) => "fails".to_owned(),
            (Figure::Median(figure), Some(own)) if own > 0.0 => {
                format!("{} ({}×)", number(*figure), ratio(figure / own))
            }
            (Figure::Median(figure), _) => number(*figure),
        }
    }
}

/// Whether the targets of a row are met; `None` if there are none or they cannot be told.
fn verdict(row: &Row, names: &[&str], figures: &[Figure]) -> Option<bool> {
    let own = figures[0].value()?;
    let of = |name: &str| figures[names.iter().position(|other| *other == name)?].value();
    let mut verdicts = Vec::new();
    for target in row.targets {
        verdicts.push(match *target {
            Target::Most(most) => own <= most,
            Target::Times(name, factor, _) => own <= of(name)? * factor,
            Target::Plus(name, more) => own <= of(name)? + more,
        });
    }
    (!verdicts.is_empty()).then(|| verdicts.into_iter().all(|is_met| is_met))
}

fn describe(target: &Target) -> String {
    match target {
        Target::Most(0.0) => "0".to_owned(),
        Target::Most(most) => format!("≤ {most}"),
        Target::Times(name, _, "1") => format!("≤ {name}"),
        Target::Times(name, _, factor) => format!("≤ {factor} {name}"),
        Target::Plus(name, more) => format!("≤ {name} + {}", number(*more)),
    }
}

/// A line of a Markdown table.
pub(crate) fn print_line(cells: &[impl AsRef<str>]) {
    let cells: Vec<&str> = cells.iter().map(AsRef::as_ref).collect();
    println!("| {} |", cells.join(" | "));
}

/// With as many places as are of interest, and thousands apart.
pub(crate) fn number(figure: f64) -> String {
    if figure == 0.0 {
        return "0".to_owned();
    }
    if figure < 10.0 {
        return format!("{figure:.2}");
    }
    if figure < 1000.0 {
        return format!("{figure:.1}");
    }
    let digits = format!("{figure:.0}");
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn ratio(ratio: f64) -> String {
    if ratio < 10.0 { format!("{ratio:.1}") } else { number(ratio.round()).trim_end_matches(".0").to_owned() }
}

/// The one in the middle; the upper one of two.
pub(crate) fn median(mut figures: Vec<f64>) -> Option<f64> {
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied()
}
