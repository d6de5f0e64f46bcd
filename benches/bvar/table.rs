//! The table: each figure beside those of the peers and beside its target.

use crate::{MEASURES, Options, run};

pub(crate) fn print(options: &Options) {
    println!("median of {} rounds (in brackets: times Bobbin's)\n", options.rounds);
    let mut head = vec!["".to_owned(), "target".to_owned(), options.peers[0].0.clone(), "met".to_owned()];
    head.extend(options.peers[1..].iter().map(|(name, _)| name.clone()));
    print_line(&head);
    print_line(&vec!["---".to_owned(); head.len()]);
    for measure in MEASURES.iter().filter(|measure| options.wants(measure)) {
        let mut figures: Vec<Vec<f64>> = vec![Vec::new(); options.peers.len()];
        for _ in 0..options.rounds {
            for (figures, peer) in figures.iter_mut().zip(&options.peers) {
                figures.extend(run(peer, measure, options.quick));
            }
        }
        let medians: Vec<Option<f64>> = figures.into_iter().map(median).collect();
        let own = medians[0].expect("the first peer has everything");
        let target = measure.target;
        let mut cells =
            vec![measure.name.to_owned(), target.map_or(String::new(), |most| format!("≤ {most}"))];
        cells.push(format!("{own:.2}"));
        let is_met = |most| if own <= most { "yes".to_owned() } else { "no".to_owned() };
        cells.push(target.map_or(String::new(), is_met));
        let peer =
            |figure: &Option<f64>| figure.map_or("-".to_owned(), |it| format!("{it:.2} ({:.1})", it / own));
        cells.extend(medians[1..].iter().map(peer));
        print_line(&cells);
    }
}

fn print_line(cells: &[String]) {
    println!("| {} |", cells.join(" | "));
}

fn median(mut figures: Vec<f64>) -> Option<f64> {
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied()
}
