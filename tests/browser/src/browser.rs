//! One person's browser: headless Chromium with a profile of its own.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;
use thirtyfour::prelude::ElementWaitable;
use thirtyfour::{
    By, CapabilitiesHelper, ChromiumLikeCapabilities, DesiredCapabilities, Key, WebDriver, WebElement,
};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::Instant;

use crate::{Result, target_dir};

/// How long [`Driver::wait`] and what is built on it look for something.
pub const PATIENCE: Duration = Duration::from_secs(20);
/// How long one command to the browser may take.
const COMMAND: Duration = Duration::from_secs(60);
/// The pause between two looks.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// How many tests use browsers at a time. They wait more than they compute: one leaves two cores idle for two thirds
/// of its time.
static TURNS: Semaphore = Semaphore::const_new(2);

/// Waits until few enough other tests of this program use browsers; hold it to the end of the test.
///
/// # Panics
/// Never: nobody closes the turns.
pub async fn turn() -> SemaphorePermit<'static> {
    TURNS.acquire().await.expect("turns are never closed")
}

/// A browser window. It derefs to thirtyfour's `WebDriver` for everything that has no helper here. Dropped, it closes.
pub struct Driver {
    web: WebDriver,
    width: u32,
    height: u32,
    dark: bool,
    /// Removed when the browser is closed.
    _profile: TempDir,
}

impl std::ops::Deref for Driver {
    type Target = WebDriver;

    fn deref(&self) -> &WebDriver {
        &self.web
    }
}

/// Opens a browser with an empty profile. The page's area is `width` by `height` CSS pixels.
///
/// # Errors
/// Where no chromedriver is named in `ANTEROOM_TEST_WEBDRIVER`, or it cannot start Chromium
/// (`ANTEROOM_TEST_CHROMIUM`, else what chromedriver finds).
pub async fn open(width: u32, height: u32, dark: bool) -> Result<Driver> {
    parts::install_crypto();
    let driver_url = std::env::var("ANTEROOM_TEST_WEBDRIVER")
        .map_err(|_| "ANTEROOM_TEST_WEBDRIVER is not set: run scripts/test, which starts a chromedriver")?;
    let profile = tempfile::Builder::new().prefix("anteroom-browser-").tempdir()?;
    let mut wanted = DesiredCapabilities::chrome();
    for argument in [
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--disable-quic",
        "--no-first-run",
        "--no-default-browser-check",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--lang=en-US",
        &format!("--user-data-dir={}", profile.path().display()),
        &format!("--window-size={},{}", width.max(500), height + 150),
    ] {
        wanted.add_arg(argument)?;
    }
    if let Ok(binary) = std::env::var("ANTEROOM_TEST_CHROMIUM") {
        wanted.set_binary(&binary)?;
    }
    wanted.set("goog:loggingPrefs", json!({"browser": "ALL"}))?;
    // A connection for each command: a dropped driver says goodbye from another thread while this one waits for it,
    // and an idle connection of this thread would never carry that.
    let client = reqwest::Client::builder().no_proxy().pool_max_idle_per_host(0).timeout(COMMAND).build()?;
    let web = WebDriver::builder(driver_url, wanted).client(client).connect().await?;
    let driver = Driver { web, width, height, dark, _profile: profile };
    driver.emulate().await?;
    Ok(driver)
}

impl Driver {
    /// Gives the current tab the asked size (a window is never narrower than 500 pixels) and colour scheme.
    async fn emulate(&self) -> Result {
        self.look(self.width, self.height, self.dark).await
    }

    /// Gives the current tab another size (CSS pixels) and colour scheme, without transitions; the page stays.
    ///
    /// # Errors
    /// Where the browser does not obey.
    pub async fn look(&self, width: u32, height: u32, dark: bool) -> Result {
        let size = json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": false});
        self.web.cdp().send_raw("Emulation.setDeviceMetricsOverride", size).await?;
        let scheme = if dark { "dark" } else { "light" };
        let media = json!({"features": [{"name": "prefers-color-scheme", "value": scheme}, {"name": "prefers-reduced-motion", "value": "reduce"}]});
        self.web.cdp().send_raw("Emulation.setEmulatedMedia", media).await?;
        Ok(())
    }

    /// From the next page on, what this tab's pages do every so many seconds they do sixty times as often: half a
    /// minute passes in half a second. Clocks and short pauses stay as they are.
    ///
    /// # Errors
    /// Where the browser does not obey.
    pub async fn hurry(&self) -> Result {
        let source = "const every = setInterval; \
                      window.setInterval = (what, millis) => every(what, millis >= 10000 ? millis / 60 : millis)";
        self.web.cdp().send_raw("Page.addScriptToEvaluateOnNewDocument", json!({ "source": source })).await?;
        Ok(())
    }

    /// Lets this tab's pages run scripts, or not, from the next page on.
    ///
    /// # Errors
    /// Where the browser does not obey.
    pub async fn scripts(&self, on: bool) -> Result {
        self.web.cdp().send_raw("Emulation.setScriptExecutionDisabled", json!({ "value": !on })).await?;
        Ok(())
    }

    /// Opens a second tab, of the same size and scheme, and goes to it. Back by `switch_to_window`.
    ///
    /// # Errors
    /// Where the browser does not obey.
    pub async fn new_tab(&self) -> Result<thirtyfour::WindowHandle> {
        let handle = self.web.new_tab().await?;
        self.web.switch_to_window(handle.clone()).await?;
        self.emulate().await?;
        Ok(handle)
    }

    /// Looks again and again until `ready` says true. Looks that fail (an element that was just replaced) count as
    /// false.
    ///
    /// # Errors
    /// After [`PATIENCE`], with `what`, the address and the page's text; a picture is left in `target/screens`.
    pub async fn wait<F>(&self, what: &str, mut ready: impl FnMut() -> F) -> Result
    where
        F: Future<Output = Result<bool>>,
    {
        let deadline = Instant::now() + PATIENCE;
        let mut last = None;
        loop {
            match ready().await {
                Ok(true) => return Ok(()),
                Ok(false) => {}
                Err(error) => last = Some(error),
            }
            if Instant::now() >= deadline {
                break;
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
        let picture =
            self.screenshot("failed").await.map(|path| path.display().to_string()).unwrap_or_default();
        let url = self.web.current_url().await.map(|url| url.to_string()).unwrap_or_default();
        let text = self.page_text().await.unwrap_or_default();
        let cause = last.map(|error| format!("; last error: {error}")).unwrap_or_default();
        Err(format!("waited in vain for {what} at {url}{cause}; picture: {picture}; the page says:\n{text}")
            .into())
    }

    /// The visible text of the whole page.
    ///
    /// # Errors
    /// Where there is no page.
    pub async fn page_text(&self) -> Result<String> {
        Ok(self
            .eval("return document.body ? document.body.innerText : ''")
            .await?
            .as_str()
            .unwrap_or_default()
            .into())
    }

    /// Waits until the page's visible text contains this.
    ///
    /// # Errors
    /// As [`Driver::wait`].
    pub async fn wait_text(&self, text: &str) -> Result {
        self.wait(&format!("the text {text:?}"), async || Ok(self.page_text().await?.contains(text))).await
    }

    /// Waits until the page's visible text does not contain this.
    ///
    /// # Errors
    /// As [`Driver::wait`].
    pub async fn wait_no_text(&self, text: &str) -> Result {
        self.wait(&format!("{text:?} to go"), async || Ok(!self.page_text().await?.contains(text))).await
    }

    /// Waits until the address contains this.
    ///
    /// # Errors
    /// As [`Driver::wait`].
    pub async fn wait_url(&self, part: &str) -> Result {
        let arrived = async || Ok(self.web.current_url().await?.as_str().contains(part));
        self.wait(&format!("an address with {part:?}"), arrived).await
    }

    /// The first element of a CSS selector that is shown; waits for it.
    ///
    /// # Errors
    /// As [`Driver::wait`].
    pub async fn shown(&self, css: &str) -> Result<WebElement> {
        self.first_shown(css, &[By::Css(css)]).await
    }

    /// Looks by each of these in turn, again and again.
    async fn first_shown(&self, what: &str, by: &[By]) -> Result<WebElement> {
        let found = std::cell::RefCell::new(None);
        self.wait(what, async || {
            for by in by {
                for element in self.web.find_all(by.clone()).await? {
                    if element.is_displayed().await? {
                        found.replace(Some(element));
                        return Ok(true);
                    }
                }
            }
            Ok(false)
        })
        .await?;
        found.into_inner().ok_or_else(|| format!("{what} is gone").into())
    }

    /// The shown button, link, summary, tab or label with this text or accessible name: the whole text first, then
    /// as a part.
    ///
    /// # Errors
    /// As [`Driver::wait`].
    pub async fn clickable(&self, text: &str) -> Result<WebElement> {
        let quoted = quote(text);
        let kinds = "(self::button or self::a or self::summary or self::label or @role='button' or @role='menuitem' \
                     or @role='tab' or (self::input and (@type='submit' or @type='button')))";
        let whole = format!(
            "//*[{kinds} and (normalize-space(.)={quoted} or @aria-label={quoted} or @value={quoted} or @title={quoted})]"
        );
        let part = format!(
            "//*[{kinds} and (contains(normalize-space(.),{quoted}) or contains(@aria-label,{quoted}))]"
        );
        self.first_shown(&format!("something to click: {text:?}"), &[By::XPath(&whole), By::XPath(&part)])
            .await
    }

    /// Clicks what [`Driver::clickable`] finds.
    ///
    /// # Errors
    /// As [`Driver::wait`], also where something else covers it.
    pub async fn click(&self, text: &str) -> Result {
        self.press(&self.clickable(text).await?).await
    }

    /// Clicks the first shown element of a CSS selector.
    ///
    /// # Errors
    /// As [`Driver::click`].
    pub async fn click_css(&self, css: &str) -> Result {
        self.press(&self.shown(css).await?).await
    }

    async fn press(&self, element: &WebElement) -> Result {
        element.scroll_into_view().await?;
        element.click().await?;
        Ok(())
    }

    /// Replaces what stands in the shown field of that name.
    ///
    /// # Errors
    /// As [`Driver::wait`].
    pub async fn fill(&self, name: &str, value: &str) -> Result {
        let css = format!("input[name='{name}']:not([type=hidden]), textarea[name='{name}']");
        type_into(&self.shown(&css).await?, value).await
    }

    /// Replaces what stands in the field with that label.
    ///
    /// # Errors
    /// As [`Driver::wait`].
    pub async fn fill_label(&self, label: &str, value: &str) -> Result {
        let quoted = quote(label);
        let labelled = format!("//label[starts-with(normalize-space(.),{quoted})]");
        let fields = "(self::input or self::textarea or self::select)";
        let by_id = format!("//*[{fields} and @id={labelled}/@for]");
        let inside = format!("{labelled}//*[{fields}]");
        let named = format!("//*[{fields} and @aria-label={quoted}]");
        let by = [By::XPath(&by_id), By::XPath(&inside), By::XPath(&named)];
        type_into(&self.first_shown(&format!("a field labelled {label:?}"), &by).await?, value).await
    }

    /// Chooses the option with this value in the `<select>` of that name.
    ///
    /// # Errors
    /// As [`Driver::wait`].
    pub async fn choose(&self, name: &str, value: &str) -> Result {
        let select = self.shown(&format!("select[name='{name}']")).await?;
        select.find(By::Css(format!("option[value='{value}']"))).await?.click().await?;
        Ok(())
    }

    /// Presses a key where the focus is, for instance `Key::Enter`.
    ///
    /// # Errors
    /// Where the browser does not obey.
    pub async fn key(&self, key: Key) -> Result {
        self.web.active_element().await?.send_keys(key + "").await?;
        Ok(())
    }

    /// Runs a function body in the page, and gives what it returns.
    ///
    /// # Errors
    /// What the script throws.
    pub async fn eval(&self, script: &str) -> Result<Value> {
        Ok(self.web.execute(script, Vec::new()).await?.json().clone())
    }

    /// The errors that the browser's console has got since the last call: failed scripts, refused by the policy (CSP),
    /// missing files.
    ///
    /// # Errors
    /// Where the browser does not tell.
    pub async fn console_errors(&self) -> Result<Vec<String>> {
        let log = self.web.browser_log().await?;
        Ok(log.into_iter().filter(|entry| entry.level == "SEVERE").map(|entry| entry.message).collect())
    }

    /// How many pixels the page is wider than its window; 0 where nothing scrolls sideways.
    ///
    /// # Errors
    /// Where there is no page.
    pub async fn overflow(&self) -> Result<i64> {
        let wider = "const e = document.documentElement; return Math.max(0, e.scrollWidth - e.clientWidth)";
        Ok(self.eval(wider).await?.as_i64().unwrap_or_default())
    }

    /// Leaves a picture of what is visible in `target/screens/NAME.png`.
    ///
    /// # Errors
    /// Where it cannot be taken or written.
    pub async fn screenshot(&self, name: &str) -> Result<PathBuf> {
        let folder = target_dir()?.join("screens");
        std::fs::create_dir_all(&folder)?;
        let path = folder.join(format!("{name}.png"));
        std::fs::write(&path, self.web.screenshot_as_png().await?)?;
        Ok(path)
    }

    /// Leaves a picture of the whole page, also of what is below the window, in `target/screens/NAME.png`.
    ///
    /// # Errors
    /// Where it cannot be taken or written.
    pub async fn picture(&self, name: &str) -> Result<PathBuf> {
        let size =
            self.eval("return [innerWidth, innerHeight, document.documentElement.scrollHeight]").await?;
        let metrics = |height: &Value| json!({"width": size[0], "height": height, "deviceScaleFactor": 1, "mobile": false});
        self.web.cdp().send_raw("Emulation.setDeviceMetricsOverride", metrics(&size[2])).await?;
        let taken = self.screenshot(name).await;
        self.web.cdp().send_raw("Emulation.setDeviceMetricsOverride", metrics(&size[1])).await?;
        taken
    }

    /// Closes the browser, and waits until it is gone.
    ///
    /// # Errors
    /// Where it does not go.
    pub async fn quit(self) -> Result {
        Ok(self.web.quit().await?)
    }
}

async fn type_into(field: &WebElement, value: &str) -> Result {
    field.wait_until().enabled().await?;
    field.clear().await?;
    field.send_keys(value).await?;
    Ok(())
}

/// An XPath string; XPath has no escapes, so one kind of quotation mark has to be absent.
fn quote(text: &str) -> String {
    if text.contains('\'') { format!("\"{text}\"") } else { format!("'{text}'") }
}
