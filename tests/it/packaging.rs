//! What the packages hold besides the program, as far as it can be told without installing them (`tests/system/run.sh` does).

use std::{collections::BTreeMap, fs, path::Path, process::Command};

#[path = "../../examples/generate/roff.rs"]
mod roff;

fn text(name: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
}

#[test]
fn the_template_differs_from_the_unit_in_what_belongs_to_an_instance_alone() {
    let (unit, template) = (text("systemd/headwater.service"), text("systemd/headwater@.service"));
    let own = ["Description=", "ExecStart=", "ExecReload=/usr", "StateDirectory=", "RuntimeDirectory="];
    let common = |unit: &str| -> Vec<String> {
        let lines = unit.lines().skip_while(|l| l.starts_with("# ")).filter(|l| !own.iter().any(|o| l.starts_with(o)));
        lines.map(str::to_owned).collect()
    };
    assert_eq!(common(&unit), common(&template));
    for line in template.lines().filter(|l| own.iter().any(|o| l.starts_with(o))) {
        assert!(line.contains("%i"), "the same for all instances: {line}");
    }
}

#[test]
fn the_scripts_of_the_packages_are_shell_without_mistakes() {
    for folder in ["packaging/debian", "packaging/rpm"] {
        for script in ["postinst", "prerm", "postrm", "pre.sh", "post.sh", "preun.sh", "postun.sh"] {
            let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder).join(script);
            if path.exists() {
                assert!(Command::new("sh").arg("-n").arg(&path).status().expect("a shell").success(), "{script}");
            }
        }
    }
}

#[test]
fn the_configuration_of_the_daemon_set_is_valid() {
    let yaml = text("packaging/kubernetes/daemonset.yaml");
    let (_, inside) = yaml.split_once("headwater.yaml: |\n").expect("the config map holds it");
    let lines = inside.lines().map_while(|l| if l.is_empty() { Some(l) } else { l.strip_prefix("    ") });
    let config = lines.collect::<Vec<_>>().join("\n");
    let config = headwater::config::parse_text("headwater.yaml", &config, &|_| None).expect("it is valid");
    assert_eq!((config.flows.len(), config.warnings), (1, Vec::new()));
}

#[test]
fn the_manual_page_of_the_configuration_is_the_manual_in_other_letters() {
    let page = roff::page("headwater.yaml", 5, "configuration", &text("docs/CONFIGURATION.md"));
    let known = [".TH ", ".SH ", ".SS ", ".PP", ".TP", ".IP ", ".EX", ".EE", ".RS 4", ".RE"];
    for line in page.lines().filter(|l| l.starts_with(['.', '\''])) {
        assert!(known.iter().any(|k| line.starts_with(k)), "not a request of man(7): {line}");
    }
    for key in ["state_dir", "start_at", "partition_key", "max_age"] {
        assert!(page.contains(&format!(".TP\n\\fB{key}\\fR\n")), "{key} has no entry");
    }
    assert!(!page.contains("](") && !page.contains("|-") && !page.contains('`'), "Markdown is left over");
}

#[test]
fn roff_keeps_backslashes_dots_and_dashes_as_they_are() {
    let page = roff::page("x", 5, "y", "# Title\n\n.dot `a-b` \\d **so** [link](to)\n\n```\n'quote \\x\n```\n");
    let (_, body) = page.split_once(".SH DESCRIPTION\n").expect("it has one");
    assert_eq!(
        body,
        ".PP\n\\&.dot \\fBa\\-b\\fR \\ed \\fBso\\fR link\n.PP\n.PP\n.RS 4\n.EX\n\\&'quote \\ex\n.EE\n.RE\n"
    );
    assert_eq!(roff::verbatim("X", "X:\n  a -b\n.c"), ".SH X\n.nf\n  a \\-b\n\\&.c\n.fi\n");
}

#[test]
fn every_message_that_the_operations_manual_explains_is_one_that_the_program_says() {
    let manual = text("docs/OPERATIONS.md");
    let (_, rest) = manual.split_once("## What the log says").expect("it has that chapter");
    let rows = rest.lines().skip_while(|l| !l.starts_with("|-")).skip(1).take_while(|l| l.starts_with('|'));
    let source = all_source(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"));
    let mut count = 0;
    for row in rows {
        let cell = row.split('|').nth(1).expect("a row has a first cell");
        for message in cell.split('`').skip(1).step_by(2) {
            for part in message.split("...") {
                assert!(source.values().any(|text| text.contains(part)), "nobody says {part:?}");
                count += 1;
            }
        }
    }
    assert!(count > 30, "only {count} messages");
}

fn all_source(folder: &Path) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder).expect("a folder of the repository") {
        let path = entry.expect("its entries can be read").path();
        if path.is_dir() {
            found.extend(all_source(&path));
        } else {
            found.insert(path.display().to_string(), fs::read_to_string(&path).expect("source is text"));
        }
    }
    found
}
