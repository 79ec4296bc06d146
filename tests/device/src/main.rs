//! The device suite as a program on the device.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::SystemTime;

use clap::Parser;
use p256::ecdsa::SigningKey;
use p256::pkcs8::DecodePrivateKey;
use trustbox_api::Bytes;
use trustbox_api::key::Uuid;
use trustbox_test::bench::{self, Figure};
use trustbox_test::case::run_all;
use trustbox_test::cases;
use trustbox_test::context::{Context, EXHAUSTIVE, Image, Images, Parties};
use trustbox_test::hostile;
use trustbox_test::optee::Optee;
use trustbox_test::reference;
use trustbox_test::report::Reporter;
use trustbox_test::steps;

/// Numbered cases against the TrustBox TA; results as TAP version 14.
#[derive(Parser)]
#[command(version)]
struct Args {
    /// Run only cases whose number or name contains one of these
    cases: Vec<String>,
    /// Print the cases and the invariants they are evidence for, and run none
    #[arg(long)]
    list: bool,
    /// Private key (PKCS#8 PEM) of the provisioning authority that the firmware was built with
    #[arg(long, required_unless_present_any = ["list", "plain"])]
    authority: Option<PathBuf>,
    /// Signed OP-TEE image of an enclave; the suite needs the meter, the probe in three versions, and the enclave in C
    #[arg(long = "image", required_unless_present_any = ["list", "plain"])]
    images: Vec<PathBuf>,
    /// A properly signed image under the UUID of the TrustBox TA, which must never run
    #[arg(long)]
    impostor: Option<PathBuf>,
    /// The program `cancel` of tests/device/c
    #[arg(long)]
    cancel: Option<PathBuf>,
    /// The program `rewrite` of tests/device/c
    #[arg(long)]
    rewrite: Option<PathBuf>,
    /// Folder with Wycheproof's vectors
    #[arg(long, value_name = "DIR")]
    vectors: Option<PathBuf>,
    /// The probe in a fourth version, padded to the size that `info` calls the largest
    #[arg(long)]
    largest: Option<PathBuf>,
    /// How thorough, from 0 to 15: at 15 every octet is changed and every length cut
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u32).range(..=i64::from(EXHAUSTIVE)))]
    level: u32,
    /// Take figures instead and print them as JSON, one a line; `build/tb bench` boots a device whose time counts
    /// instructions
    #[arg(long, conflicts_with = "list", requires = "sized")]
    bench: bool,
    /// With --bench: the image whose install is measured
    #[arg(long)]
    sized: Option<PathBuf>,
    /// With --bench: this is OP-TEE without TrustBox, and the TA to compare launches and calls with
    #[arg(long, requires = "bench")]
    plain: Option<PathBuf>,
    /// With --bench: UUID of the same TA on this OP-TEE, to compare signatures with
    #[arg(long, value_name = "UUID", requires = "bench", conflicts_with = "plain")]
    signer: Option<String>,
    /// Carry out these steps of a campaign instead of cases: prepare, view, install:VERSION, record:READING, uninstall,
    /// erase; `build/tb campaign` uses it
    #[arg(long, value_name = "STEP", num_args = 1.., conflicts_with_all = ["list", "bench", "cases"])]
    steps: Vec<String>,
    /// Do so many hostile acts at random instead of cases; `build/tb campaign` uses it
    #[arg(long, value_name = "N", conflicts_with_all = ["list", "bench", "cases", "steps"])]
    hostile: Option<u64>,
    /// Number of the first hostile act
    #[arg(long, value_name = "N", default_value_t = 1)]
    first: u64,
    /// Seed of the hostile acts
    #[arg(long, value_name = "S", default_value_t = 1)]
    seed: u64,
    /// Highest sequence of the owner's statements so far; the time where it is left out
    #[arg(long, value_name = "N")]
    sequence: Option<u64>,
    /// Also write the results as JUnit XML
    #[arg(long)]
    junit: Option<PathBuf>,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let selected = cases::select(&args.cases);
    if selected.is_empty() {
        eprintln!("error: no case matches {:?}\nhelp: see `trustbox-test --list`", args.cases);
        return ExitCode::from(2);
    }
    if args.list {
        for case in selected {
            println!("{} {} [{}]", case.id, case.name, case.invariants.join(" "));
        }
        return ExitCode::SUCCESS;
    }
    match run(&args, &selected) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(3)
        }
    }
}

fn run(args: &Args, selected: &[&trustbox_test::case::Case]) -> Result<bool, String> {
    if let (Some(sized), Some(plain)) = (&args.sized, &args.plain) {
        print(&reference::all(&image(sized)?, sized, &image(plain)?)?);
        return Ok(true);
    }
    let target = Optee::new()?;
    let authority = authority(args.authority.as_ref().ok_or("no authority key")?)?;
    let parties = Parties::strangers(authority);
    let images = Images::of(args.images.iter().map(image).collect::<Result<_, _>>()?)?;
    let now = SystemTime::UNIX_EPOCH.elapsed().map_err(|error| error.to_string())?;
    let sequence = args.sequence.unwrap_or(now.as_millis() as u64);
    let mut context = Context::new(&target, &parties, images, sequence);
    context.level = args.level;
    context.cancel = args.cancel.clone();
    context.rewrite = args.rewrite.clone();
    context.vectors = args.vectors.clone();
    context.impostor = args.impostor.clone();
    context.again = Some(again(args)?);
    context.largest = args.largest.as_ref().map(image).transpose()?;
    if let Some(sized) = &args.sized {
        let signer = args.signer.as_deref().ok_or("no TA to compare signatures with")?;
        let mut plain = target.connect_directly(signer).map_err(|code| format!("{signer}: {code:?}"))?;
        let figures = bench::all(&mut context, &image(sized)?, plain.as_mut());
        print(&figures.map_err(|stop| format!("{stop:?}"))?);
        return Ok(true);
    }
    if let Some(count) = args.hostile {
        let stood = hostile::rounds(&mut context, args.first, count, args.seed, &mut std::io::stdout());
        return stood.map_err(|stop| format!("{stop:?}"));
    }
    if !args.steps.is_empty() {
        let done = steps::run(&mut context, &args.steps, &mut std::io::stdout());
        return done.map(|()| true).map_err(|stop| format!("{stop:?}"));
    }
    let mut out = std::io::stdout();
    let mut reporter = Reporter::new(&mut out);
    let good = run_all(selected, &mut context, &mut reporter).map_err(|error| error.to_string())?;
    if let Some(path) = &args.junit {
        fs::write(path, reporter.junit()).map_err(|error| format!("{}: {error}", path.display()))?;
    }
    Ok(good)
}

/// The command line of another process that carries out steps on the same device.
fn again(args: &Args) -> Result<Vec<OsString>, String> {
    let program = env::current_exe().map_err(|error| format!("this program's own name: {error}"))?;
    let named = |name, path: &PathBuf| [OsString::from(name), path.into()];
    let authority = args.authority.iter().flat_map(|path| named("--authority", path));
    let images = args.images.iter().flat_map(|path| named("--image", path));
    Ok([program.into()].into_iter().chain(authority).chain(images).collect())
}

/// As JSON, one a line.
fn print(figures: &[Figure]) {
    for Figure { name, value, unit } in figures {
        println!("{{\"name\":\"{name}\",\"value\":{value:.2},\"unit\":\"{unit}\"}}");
    }
}

fn authority(path: &PathBuf) -> Result<SigningKey, String> {
    let pem = fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
    SigningKey::from_pkcs8_pem(&pem).map_err(|error| format!("{}: {error}", path.display()))
}

/// UUID and version stand behind header, hash and signature.
fn image(path: &PathBuf) -> Result<Image, String> {
    let bytes = fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?;
    let u16_at = |at: usize| Some(usize::from(u16::from_le_bytes(bytes.get(at..at + 2)?.try_into().ok()?)));
    let header = || {
        let at = 20 + u16_at(16)? + u16_at(18)?;
        let uuid = Uuid(Bytes::from_slice(bytes.get(at..at + 16)?)?);
        let version = u32::from_le_bytes(bytes.get(at + 16..at + 20)?.try_into().ok()?);
        Some((uuid, version))
    };
    let (uuid, version) = header().ok_or_else(|| format!("{}: not a signed OP-TEE image", path.display()))?;
    Ok(Image { bytes, uuid, version })
}
