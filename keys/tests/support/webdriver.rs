//! Chromium without a screen, driven over WebDriver (W3C) by Debian's chromedriver: the few commands that these tests need.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper::body::Bytes;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpStream;

/// The key by which WebDriver names an element.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";
/// Keys that are no letters.
pub const TAB: &str = "\u{e004}";
pub const ENTER: &str = "\u{e007}";

/// A browser.
pub struct Chromium {
    driver: Child,
    sender: SendRequest<Full<Bytes>>,
    session: String,
}

impl Drop for Chromium {
    fn drop(&mut self) {
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}

impl Chromium {
    /// Starts one of its own, with or without scripts.
    pub async fn start(scripts: bool) -> Self {
        let settings = if scripts {
            json!({})
        } else {
            json!({"profile.managed_default_content_settings.javascript": 2})
        };
        Self::with(settings, None).await
    }

    /// Starts one that shows the certificates in the database of a home folder to a site, without asking, and believes the CAs in it.
    pub async fn with_certificates(home: &Path, site: &str) -> Self {
        let shown = json!({"pattern": site, "filter": {}}).to_string();
        Self::with(json!({"profile.managed_auto_select_certificate_for_urls": [shown]}), Some(home)).await
    }

    async fn with(settings: Value, home: Option<&Path>) -> Self {
        let mut command = Command::new("chromedriver");
        home.map(|home| command.env("HOME", home));
        let driver = command.arg("--port=0").stdout(Stdio::piped()).spawn();
        let mut driver = driver.expect("the Debian packages chromium and chromium-driver are needed");
        let mut lines = BufReader::new(driver.stdout.take().unwrap()).lines().map_while(Result::ok);
        let port = lines.find_map(|line| {
            Some(line.split_once("successfully on port ")?.1.trim_end_matches('.').to_owned())
        });
        // What it says later goes nowhere, but must go.
        std::thread::spawn(move || lines.for_each(drop));
        let stream = TcpStream::connect(format!("127.0.0.1:{}", port.unwrap())).await.unwrap();
        let (sender, connection) = handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        let mut chromium = Self { driver, sender, session: String::new() };
        let mut arguments =
            vec!["--headless=new", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"];
        arguments.extend([
            "--disable-background-networking",
            "--window-size=1100,760",
            "--force-device-scale-factor=1",
        ]);
        if rustix::process::geteuid().is_root() {
            arguments.push("--no-sandbox");
        }
        // What a click leads to may take a moment: an element is waited for.
        let capabilities = json!({"browserName": "chrome", "acceptInsecureCerts": home.is_none(),
            "timeouts": {"implicit": 10_000},
            "goog:loggingPrefs": {"browser": "ALL"},
            "goog:chromeOptions": {"args": arguments, "prefs": settings}});
        let made =
            chromium.send("POST", "/session", json!({"capabilities": {"alwaysMatch": capabilities}})).await;
        chromium.session = format!("/session/{}", made["sessionId"].as_str().unwrap());
        chromium
    }

    async fn send(&mut self, method: &str, path: &str, body: Value) -> Value {
        self.try_send(method, path, body)
            .await
            .unwrap_or_else(|problem| panic!("{method} {path}: {}", problem["message"]))
    }

    async fn try_send(&mut self, method: &str, path: &str, body: Value) -> Result<Value, Value> {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let request = Request::builder().method(method).uri(path).header("host", "localhost");
        let request =
            request.header("content-type", "application/json").body(Full::new(Bytes::from(body))).unwrap();
        self.sender.ready().await.unwrap();
        let response = self.sender.send_request(request).await.unwrap();
        let status = response.status();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        let mut answer: Value = serde_json::from_slice(&body).unwrap();
        let value = answer["value"].take();
        if status.is_success() { Ok(value) } else { Err(value) }
    }

    async fn command(&mut self, method: &str, path: &str, body: Value) -> Value {
        let path = format!("{}{path}", self.session);
        self.send(method, &path, body).await
    }

    pub async fn open(&mut self, url: &str) {
        self.command("POST", "/url", json!({"url": url})).await;
    }

    /// Waits until it is at an address: what a click leads to may take a moment.
    pub async fn arrives(&mut self, url: &str) {
        for _ in 0..100 {
            if self.url().await == url {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
        panic!("at {} instead of {url}", self.url().await);
    }

    pub async fn url(&mut self) -> String {
        self.command("GET", "/url", Value::Null).await.as_str().unwrap().to_owned()
    }

    async fn element(&mut self, selector: &str) -> String {
        let found = json!({"using": "css selector", "value": selector});
        let found = self.command("POST", "/element", found).await;
        format!("/element/{}", found[ELEMENT].as_str().unwrap())
    }

    /// Follows a link or sends a form: the page is another one afterwards.
    pub async fn click(&mut self, selector: &str) {
        let page = self.element("html").await;
        let element = self.element(selector).await;
        self.command("POST", &format!("{element}/click"), json!({})).await;
        let path = format!("{}{page}/name", self.session);
        let mut said = Value::Null;
        for _ in 0..200 {
            // Between two pages the browser has other words for it now and then.
            said = self.try_send("GET", &path, Value::Null).await.err().unwrap_or_default();
            if said["error"] == "stale element reference" {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
        panic!("a click on {selector} leads nowhere: {said}");
    }

    pub async fn fill(&mut self, selector: &str, text: &str) {
        let element = self.element(selector).await;
        self.command("POST", &format!("{element}/value"), json!({"text": text})).await;
    }

    pub async fn text(&mut self, selector: &str) -> String {
        let element = self.element(selector).await;
        self.command("GET", &format!("{element}/text"), Value::Null).await.as_str().unwrap().to_owned()
    }

    /// Presses a key, wherever the focus is; returns the text of what has it then.
    pub async fn press(&mut self, key: &str) -> String {
        let actions = json!([{"type": "key", "id": "keyboard", "actions": [
            {"type": "keyDown", "value": key}, {"type": "keyUp", "value": key}]}]);
        self.command("POST", "/actions", json!({"actions": actions})).await;
        let active = self.command("GET", "/element/active", Value::Null).await;
        let path = format!("/element/{}/text", active[ELEMENT].as_str().unwrap());
        self.command("GET", &path, Value::Null).await.as_str().unwrap().to_owned()
    }

    /// Looks at the page with a script of the test's own.
    pub async fn ask(&mut self, script: &str) -> Value {
        self.command("POST", "/execute/sync", json!({"script": script, "args": []})).await
    }

    pub async fn resize(&mut self, width: u32, height: u32) {
        self.command("POST", "/window/rect", json!({"width": width, "height": height})).await;
    }

    /// What the browser complained of since the last time.
    pub async fn complaints(&mut self) -> Vec<String> {
        let log = self.command("POST", "/se/log", json!({"type": "browser"})).await;
        log.as_array().unwrap().iter().map(|line| line["message"].as_str().unwrap().to_owned()).collect()
    }

    /// What it looks like, PNG.
    pub async fn screenshot(&mut self) -> Vec<u8> {
        let text = self.command("GET", "/screenshot", Value::Null).await;
        BASE64_STANDARD.decode(text.as_str().unwrap()).unwrap()
    }

    /// Ends the browser.
    pub async fn quit(mut self) {
        self.command("DELETE", "", Value::Null).await;
    }
}
