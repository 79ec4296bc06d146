//! What all pages look like: landmarks, one heading, a table with a caption for every list, states in words and not in colour alone.

use axum::response::{IntoResponse, Response};
use maud::{DOCTYPE, Markup, html};
use x509_cert::der::DateTime;

use super::session::Viewer;

/// Marks a response that is a page already.
#[derive(Clone, Copy)]
pub struct Html;

/// A whole page.
pub struct Document(Markup);

impl IntoResponse for Document {
    fn into_response(self) -> Response {
        let mut response = axum::response::Html(self.0.into_string()).into_response();
        response.extensions_mut().insert(Html);
        response
    }
}

const PAGES: [(&str, &str); 6] = [
    ("/", "Line"),
    ("/devices", "Devices"),
    ("/failures", "Failures"),
    ("/yields", "Yields"),
    ("/vouchers", "Vouchers"),
    ("/audit", "Audit"),
];

/// A page with its title, the address of its place in the menu, who looks, and what it shows.
pub fn page(title: &str, place: &str, viewer: Option<&Viewer>, body: Markup) -> Document {
    Document(html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { (title) " · TrustBox line" }
                link rel="stylesheet" href="/style.css";
            }
            body {
                a.skip href="#main" { "Skip to content" }
                header {
                    p.brand { "TrustBox line" }
                    @if let Some(viewer) = viewer {
                        nav aria-label="Pages" { ul {
                            @for (address, name) in PAGES {
                                @if address != "/audit" || viewer.reads_audit() {
                                    li { a href=(address) aria-current=[(address == place).then_some("page")] { (name) } }
                                }
                            }
                        } }
                        form.logout method="post" action="/logout" {
                            input type="hidden" name="form" value=(viewer.form);
                            span { (viewer.name) ", " (viewer.role.name()) }
                            button type="submit" { "Log out" }
                        }
                    }
                }
                main id="main" tabindex="-1" { (body) }
                footer { p { "trustbox-keys " (env!("CARGO_PKG_VERSION")) ". Times are UTC." } }
            }
        }
    })
}

/// What went wrong, as a page.
pub fn error(title: &str, detail: &str, help: &str) -> Document {
    let body = html! {
        h1 { "This did not work" }
        p role="alert" { (title) ": " (detail) "." }
        p { (help) }
        p { a href="/" { "To the line" } }
    };
    page("Error", "", None, body)
}

/// A list: its caption, the headings of its columns, its rows.
pub fn table(caption: &str, columns: &[&str], rows: Vec<Markup>) -> Markup {
    html! {
        @if rows.is_empty() { h2 { (caption) } p.none { "None." } }
        @else {
            div.scroll role="region" aria-label=(caption) tabindex="0" { table {
                caption { (caption) }
                thead { tr { @for column in columns { th scope="col" { (column) } } } }
                tbody { @for row in rows { tr { (row) } } }
            } }
        }
    }
}

/// A state in a word, a sign and a colour.
pub fn state(state: &str) -> Markup {
    let (class, sign) = match state {
        "passed" | "enrolled" => ("good", "✓"),
        "failed" | "revoked" | "decommissioned" => ("bad", "✗"),
        _ => ("open", "…"),
    };
    html! { span.state.(class) { span aria-hidden="true" { (sign) " " } (state) } }
}

/// A link to a device, by the beginning of its id.
pub fn device(id: &str) -> Markup {
    html! { a href={ "/devices/" (id) } aria-label={ "Device " (id) } { code { (short(id)) } } }
}

/// A link to a voucher.
pub fn voucher(fingerprint: &str) -> Markup {
    html! { a href={ "/vouchers/" (fingerprint) } aria-label={ "Voucher " (fingerprint) } { code { (short(fingerprint)) } } }
}

/// A moment.
pub fn time(seconds: u64) -> Markup {
    let shown = moment(seconds);
    html! { time datetime={ (shown) "Z" } { (shown.replace('T', " ")) } }
}

/// A day, of days since 1970.
pub fn day(days: u64) -> String {
    moment(days.saturating_mul(86_400)).split('T').next().unwrap_or_default().to_owned()
}

fn moment(seconds: u64) -> String {
    let found = DateTime::from_unix_duration(std::time::Duration::from_secs(seconds));
    found.map_or_else(|_| seconds.to_string(), |time| time.to_string().trim_end_matches('Z').to_owned())
}

/// The beginning of an id.
pub fn short(id: &str) -> String {
    match id.char_indices().nth(16) {
        Some((end, _)) => format!("{}…", &id[..end]),
        None => id.to_owned(),
    }
}

/// What is written in an address's query.
pub fn escaped(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    text.bytes()
        .map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_somebody_wrote_is_shown_and_never_markup() {
        let evil = "<script>alert(1)</script>";
        let shown = table(evil, &[evil], vec![html! { td { (evil) } }]).into_string();
        assert!(!shown.contains("<script") && shown.contains("&lt;script&gt;"));
        assert_eq!(escaped("a b&c=\"é"), "a%20b%26c%3D%22%C3%A9");
        assert_eq!((day(0), short("ä")), ("1970-01-01".to_owned(), "ä".to_owned()));
        assert!(time(1_800_000_000).into_string().contains("2027-01-15 08:00:00"));
    }
}
