//! Every route with its method, its guard and its handler, on one page.
//!
//! `anteroom config routes` prints this table; docs/routes.md holds it and a test keeps them equal.

use accounts::Permission as P;
use axum::Router;
use axum::handler::Handler;
use axum::http::Method;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::{MethodFilter, on};
use tower_http::compression::CompressionLayer;

use crate::app::App;
use crate::guard::Guard::{self, Challenge, May, Member, Public, SignedOut};
use crate::guard::{Body, Rule, Session, authorise};
use crate::pages::{
    admin, chat, enrol, link, passwordless, provider, recovery, second_factor, settings, setup, sign_in,
    sign_out, sign_up, verify_email,
};
use crate::{api, assets, http, pages};

fn table(routes: &mut Routes) {
    routes
        .get("/", Public, pages::home)
        .get("/setup", Public, setup::page)
        .post("/setup", Public, setup::submit)
        .get("/signup", SignedOut, sign_up::page)
        .post("/signup", SignedOut, sign_up::submit)
        .get("/login", SignedOut, sign_in::page)
        .post("/login", SignedOut, sign_in::submit)
        .taking(Body::Carried)
        .post("/login/passkey/options", SignedOut, passwordless::options)
        .taking(Body::Carried)
        .post("/login/passkey", SignedOut, passwordless::submit)
        .taking(Body::Carried)
        .get("/login/2fa", Challenge, second_factor::page)
        .post("/login/2fa", Challenge, second_factor::submit)
        .get("/login/2fa/totp", Challenge, second_factor::page_totp)
        .get("/login/2fa/email", Challenge, second_factor::page_email)
        .post("/login/2fa/email", Challenge, second_factor::send_code)
        .get("/login/2fa/backup-code", Challenge, second_factor::page_backup_code)
        .get("/login/2fa/passkey", Challenge, second_factor::page_passkey)
        .post("/login/2fa/passkey/options", Challenge, second_factor::passkey_options)
        .get("/login/2fa/enrol", Challenge, enrol::page)
        .post("/login/2fa/enrol", Challenge, enrol::submit)
        .post("/login/2fa/enrol/passkey/options", Challenge, enrol::passkey_options)
        .post("/login/2fa/cancel", Challenge, second_factor::cancel)
        .get("/login/link", Public, link::page)
        .post("/login/link/mail", Public, link::send_mail)
        .post("/login/link/cancel", Public, link::cancel)
        .get("/login/link/{token}", Public, link::mailed_page)
        .post("/login/link/{token}", Public, link::mailed)
        .get("/login/{provider}", SignedOut, provider::begin)
        .post("/login/{provider}", SignedOut, provider::begin_with_prompt)
        .taking(Body::Carried)
        .get("/login/{provider}/authorized", Public, provider::authorized)
        .post(sign_out::PATH, Public, sign_out::submit)
        .get("/verify-email/{token}", Public, verify_email::page)
        .post("/verify-email/{token}", Public, verify_email::submit)
        .get("/forgot", Public, recovery::forgot::page)
        .post("/forgot", Public, recovery::forgot::submit)
        .get("/reset/{token}", Public, recovery::reset::page)
        .post("/reset/{token}", Public, recovery::reset::submit)
        .get("/confirm-email/{token}", Public, recovery::address::confirm_page)
        .post("/confirm-email/{token}", Public, recovery::address::confirm)
        .get("/revert-email/{token}", Public, recovery::address::revert_page)
        .post("/revert-email/{token}", Public, recovery::address::revert)
        // chat
        .get("/chat", May(P::ChatUse), chat::new_page)
        .post("/chat", May(P::ChatUse), chat::create)
        .taking(Body::Prompt)
        .get("/chat/{id}", May(P::ChatUse), chat::page)
        .post("/chat/{id}/messages", May(P::ChatUse), chat::send)
        .taking(Body::Prompt)
        .post("/chat/{id}/rename", May(P::ChatUse), chat::rename)
        .post("/chat/{id}/delete", May(P::ChatUse), chat::delete)
        .get("/chat/{id}/events", May(P::ChatUse), chat::events)
        .session(Session::Unasked)
        .post("/messages/{id}/regenerate", May(P::ChatUse), chat::regenerate)
        .post("/messages/{id}/show", May(P::ChatUse), chat::show_version)
        .post("/generations/{id}/stop", May(P::ChatUse), chat::stop)
        // settings
        .get("/settings", Member, settings::page)
        .get("/settings/password", Member, settings::password::page)
        .post("/settings/password", Member, settings::password::change)
        .step_up()
        .get("/settings/email", Member, settings::email::page)
        .post("/settings/email", Member, settings::email::submit)
        .step_up()
        .get("/settings/2fa", Member, settings::second_factor::page)
        .post("/settings/2fa", Member, settings::second_factor::submit)
        .step_up()
        .get("/settings/2fa/setup", Member, settings::second_factor::setup)
        .get("/settings/2fa/disable", Member, settings::second_factor::disable_page)
        .get("/settings/2fa/backup-codes", Member, settings::backup_codes::page)
        .post("/settings/2fa/backup-codes", Member, settings::backup_codes::renew)
        .step_up()
        .get("/2fa/qrcode.png", Member, settings::second_factor::qr_code)
        .get("/settings/passkeys", Member, settings::passkeys::page)
        .post("/settings/passkeys", Member, settings::passkeys::add)
        .step_up()
        .post("/settings/passkeys/new", Member, settings::passkeys::new)
        .step_up()
        .post("/settings/passkeys/options", Member, settings::passkeys::options)
        .step_up()
        .post("/settings/passkeys/{id}/rename", Member, settings::passkeys::rename)
        .step_up()
        .post("/settings/passkeys/{id}/remove", Member, settings::passkeys::remove)
        .step_up()
        .get("/settings/connections", Member, settings::connections::page)
        .post("/settings/connections/link", Member, settings::connections::link)
        .step_up()
        .post("/settings/connections/{id}/unlink", Member, settings::connections::unlink)
        .step_up()
        .get("/settings/sessions", Member, settings::sessions::page)
        .post("/settings/sessions/end-others", Member, settings::sessions::end_others)
        .post("/settings/sessions/{id}/end", Member, settings::sessions::end)
        // administration
        .get("/admin", May(P::StatsRead), admin::overview::page)
        .get("/admin/stats", May(P::StatsRead), admin::stats::page)
        .get("/admin/users", May(P::UsersRead), admin::users::page)
        .post("/admin/users/{id}/promote", May(P::RolesManage), admin::users::promote)
        .step_up()
        .post("/admin/users/{id}/demote", May(P::RolesManage), admin::users::demote)
        .step_up()
        .post("/admin/users/{id}/deactivate", May(P::UsersManage), admin::users::deactivate)
        .step_up()
        .post("/admin/users/{id}/reactivate", May(P::UsersManage), admin::users::reactivate)
        .step_up()
        .post("/admin/users/{id}/unlock", May(P::UsersManage), admin::users::unlock)
        .step_up()
        .post("/admin/users/{id}/sign-out", May(P::UsersManage), admin::users::sign_out)
        .step_up()
        .post("/admin/users/{id}/send-reset", May(P::UsersManage), admin::users::send_reset)
        .step_up()
        .post("/admin/users/{id}/reset-factors", May(P::UsersResetFactors), admin::users::reset_factors)
        .step_up()
        .get("/admin/roles", May(P::RolesManage), admin::roles::page)
        .post("/admin/roles/{id}/second-factor", May(P::RolesManage), admin::roles::set_second_factor)
        .step_up()
        .get("/admin/models", May(P::ModelsManage), admin::models::page)
        .post("/admin/models", May(P::ModelsManage), admin::models::add)
        .step_up()
        .post("/admin/models/default", May(P::ModelsManage), admin::models::set_default)
        .step_up()
        .post("/admin/models/upstreams/{id}/test", May(P::ModelsManage), admin::models::test)
        .step_up()
        .post("/admin/models/upstreams/{id}/enable", May(P::ModelsManage), admin::models::enable_upstream)
        .step_up()
        .post("/admin/models/upstreams/{id}/disable", May(P::ModelsManage), admin::models::disable_upstream)
        .step_up()
        .post("/admin/models/upstreams/{id}/remove", May(P::ModelsManage), admin::models::remove_upstream)
        .step_up()
        .post("/admin/models/enable", May(P::ModelsManage), admin::models::enable_model)
        .step_up()
        .post("/admin/models/disable", May(P::ModelsManage), admin::models::disable_model)
        .step_up()
        .get("/admin/errors", May(P::ErrorsRead), admin::errors::page)
        .get("/admin/settings", May(P::SettingsManage), admin::settings::page)
        .post("/admin/settings/sign-up", May(P::SettingsManage), admin::settings::save_sign_up)
        .step_up()
        .post("/admin/settings/general", May(P::SettingsManage), admin::settings::save_general)
        .step_up()
        .post("/admin/settings/second-factor", May(P::SettingsManage), admin::settings::save_second_factor)
        .step_up()
        .get("/admin/settings/providers/new", May(P::SettingsManage), admin::providers::new_page)
        .post("/admin/settings/providers", May(P::SettingsManage), admin::providers::add)
        .step_up()
        .get("/admin/settings/providers/{name}", May(P::SettingsManage), admin::providers::page)
        .post("/admin/settings/providers/{name}", May(P::SettingsManage), admin::providers::save)
        .step_up()
        .post("/admin/settings/providers/{name}/enable", May(P::SettingsManage), admin::providers::enable)
        .step_up()
        .post("/admin/settings/providers/{name}/disable", May(P::SettingsManage), admin::providers::disable)
        .step_up()
        .post("/admin/settings/providers/{name}/remove", May(P::SettingsManage), admin::providers::remove)
        .step_up()
        .post("/admin/settings/providers/{name}/test", May(P::SettingsManage), admin::providers::test)
        .step_up()
        // JSON
        .post("/assign_role_to_user", May(P::RolesManage), api::assign_role)
        .step_up()
        .get("/api/v1/csrf", Public, api::csrf)
        .get("/api/v1/me", Member, api::me)
        .session(Session::Unasked)
        .post("/api/v1/step-up", Member, api::step_up::submit)
        .post("/api/v1/step-up/email", Member, api::step_up::send_code)
        .post("/api/v1/step-up/passkey/options", Member, api::step_up::passkey_options)
        .post("/api/v1/step-up/passkey", Member, api::step_up::passkey)
        // operation
        .get("/healthz", Public, api::health::alive)
        .session(Session::Ignored)
        .get("/readyz", Public, api::health::ready)
        .session(Session::Ignored)
        .get("/assets/{file}", Public, assets::serve)
        .session(Session::Ignored)
        .get("/favicon.ico", Public, assets::favicon)
        .session(Session::Ignored);
}

/// Names that earlier applications of this kind used, and where that is now. Nothing is done at
/// them: whoever comes there is sent on.
pub const MOVED: &[(&str, &str)] = &[
    ("/2fa/enable", "/settings/2fa"),
    ("/auth/two-factor-setup", "/settings/2fa"),
    ("/auth/settings/two-factor", "/settings/2fa"),
    ("/auth/two-factor-verify-setup", "/settings/2fa"),
    ("/auth/settings/disable-two-factor", "/settings/2fa"),
    ("/auth/two-step-verification", "/login/2fa"),
    ("/auth/verify-2fa", "/login/2fa"),
    ("/auth/backup-codes", "/settings/2fa/backup-codes"),
    ("/auth/regenerate-backup-codes", "/settings/2fa/backup-codes"),
    ("/register", "/signup"),
    ("/dashboard", "/settings"),
];

/// A route as the matrix shows it.
#[derive(Clone, Debug)]
pub struct Route {
    pub method: Method,
    pub path: &'static str,
    pub guard: Guard,
    /// Also needs a fresh proof of who one is.
    pub step_up: bool,
}

/// Collects the table: for axum, if there is an application, and for the matrix.
struct Routes {
    app: Option<App>,
    router: Router<App>,
    listed: Vec<Route>,
    /// The route named last, not yet added.
    next: Option<Pending>,
}

type Adder = Box<dyn FnOnce(Router<App>, &App, Rule) -> Router<App>>;

struct Pending {
    rule: Rule,
    add: Adder,
}

impl Routes {
    fn get<H, T>(&mut self, path: &'static str, guard: Guard, handler: H) -> &mut Self
    where
        H: Handler<T, App>,
        T: 'static,
    {
        self.route(Method::GET, MethodFilter::GET, path, guard, handler)
    }

    fn post<H, T>(&mut self, path: &'static str, guard: Guard, handler: H) -> &mut Self
    where
        H: Handler<T, App>,
        T: 'static,
    {
        self.route(Method::POST, MethodFilter::POST, path, guard, handler)
    }

    fn route<H, T>(
        &mut self,
        method: Method,
        on_method: MethodFilter,
        path: &'static str,
        guard: Guard,
        handler: H,
    ) -> &mut Self
    where
        H: Handler<T, App>,
        T: 'static,
    {
        self.flush();
        self.listed.push(Route { method, path, guard, step_up: false });
        self.next = Some(Pending {
            rule: Rule { route: path, guard, body: Body::Fields, session: Session::Used, step_up: false },
            add: Box::new(move |router, app, rule| {
                let app = app.clone();
                let guarded = on(on_method, handler)
                    .layer(from_fn(move |request, next| authorise(app.clone(), rule, request, next)));
                router.route(path, guarded)
            }),
        });
        self
    }

    /// The route named last takes a longer body.
    fn taking(&mut self, body: Body) -> &mut Self {
        if let Some(next) = &mut self.next {
            next.rule.body = body;
        }
        self
    }

    /// The route named last means something else to the session.
    fn session(&mut self, session: Session) -> &mut Self {
        if let Some(next) = &mut self.next {
            next.rule.session = session;
        }
        self
    }

    /// The route named last needs a proof of who one is that is not older than ten minutes (SEC-58).
    /// Only what changes something does: a form goes on after the proof, a page could not.
    fn step_up(&mut self) -> &mut Self {
        if let Some(next) = &mut self.next {
            next.rule.step_up = true;
        }
        if let Some(last) = self.listed.last_mut() {
            debug_assert!(last.method != Method::GET, "{} is read, not changed", last.path);
            last.step_up = true;
        }
        self
    }

    fn flush(&mut self) {
        if let (Some(Pending { rule, add }), Some(app)) = (self.next.take(), &self.app) {
            self.router = add(std::mem::take(&mut self.router), app, rule);
        }
    }
}

/// All routes, in the table's order.
pub fn routes() -> Vec<Route> {
    let mut routes = Routes { app: None, router: Router::new(), listed: Vec::new(), next: None };
    table(&mut routes);
    routes.listed
}

/// The whole application as one service.
pub fn router(app: &App) -> Router {
    let mut routes = Routes { app: Some(app.clone()), router: Router::new(), listed: Vec::new(), next: None };
    table(&mut routes);
    routes.flush();
    for (old, new) in MOVED {
        let see_other = || async { http::answer::see_other(new) };
        let moved = axum::routing::get(see_other).post(see_other);
        routes.router = std::mem::take(&mut routes.router).route(old, moved);
    }
    let fallback = app.clone();
    let wrong_method = app.clone();
    routes
        .router
        .fallback(move |request| pages::not_found(fallback.clone(), request))
        .method_not_allowed_fallback(move |request| pages::method_not_allowed(wrong_method.clone(), request))
        .layer(CompressionLayer::new().gzip(true))
        .layer(from_fn_with_state(app.clone(), http::cors::allow))
        .layer(from_fn_with_state(app.clone(), pages::canonical_host))
        .layer(from_fn_with_state(app.clone(), http::headers::add))
        .layer(from_fn_with_state(app.clone(), http::panics::catch))
        .layer(from_fn_with_state(app.clone(), http::log::line))
        .with_state(app.clone())
}

/// The matrix route × caller as Markdown, for docs/routes.md and `anteroom config routes`.
pub fn matrix() -> String {
    let mut out = String::from(
        "# Routes\n\nWritten by `anteroom config routes` from `src/router.rs`; a test keeps the two equal, and another \
         tries every route as every kind of caller. Unsafe methods also need a form token and an own origin (SEC-83). \
         \"step-up\" needs a proof of who one is that is not older than ten minutes (SEC-58).\n\n\
         | method | path | guard | signed out | in a challenge | User | Admin |\n|---|---|---|---|---|---|---|\n",
    );
    for route in routes() {
        let [anon, challenged, user, admin] = callers(route.guard);
        out.push_str(&format!(
            "| {} | `{}` | {}{} | {anon} | {challenged} | {user} | {admin} |\n",
            route.method,
            route.path,
            route.guard.words(),
            if route.step_up { ", step-up" } else { "" }
        ));
    }
    out
}

/// What a person who is signed out, one between the factors, a User and an Admin get, by the
/// built-in roles. A challenge opens its own routes and nothing else (SEC-35).
fn callers(guard: Guard) -> [&'static str; 4] {
    match guard {
        Public => ["yes", "yes", "yes", "yes"],
        SignedOut => ["yes", "yes", "to /chat", "to /chat"],
        Challenge => ["sign-in", "yes", "to /chat", "to /chat"],
        Member => ["sign-in", "sign-in", "yes", "yes"],
        May(P::ChatUse | P::ApiKeysUse) => ["sign-in", "sign-in", "yes", "yes"],
        May(_) => ["sign-in", "sign-in", "no", "yes"],
    }
}
