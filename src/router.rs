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
use crate::guard::Guard::{self, May, Member, Public, SignedOut};
use crate::guard::{Body, Rule, Session, authorise};
use crate::pages::{admin, chat, settings, setup, sign_in, sign_out, sign_up, verify_email};
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
        .post(sign_out::PATH, Public, sign_out::submit)
        .get("/verify-email/{token}", Public, verify_email::page)
        .post("/verify-email/{token}", Public, verify_email::submit)
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
        .get("/settings/sessions", Member, settings::sessions::page)
        .post("/settings/sessions/end-others", Member, settings::sessions::end_others)
        .post("/settings/sessions/{id}/end", Member, settings::sessions::end)
        // administration
        .get("/admin", May(P::StatsRead), admin::overview::page)
        .get("/admin/stats", May(P::StatsRead), admin::stats::page)
        .get("/admin/users", May(P::UsersRead), admin::users::page)
        .post("/admin/users/{id}/promote", May(P::RolesManage), admin::users::promote)
        .post("/admin/users/{id}/demote", May(P::RolesManage), admin::users::demote)
        .post("/admin/users/{id}/deactivate", May(P::UsersManage), admin::users::deactivate)
        .post("/admin/users/{id}/reactivate", May(P::UsersManage), admin::users::reactivate)
        .post("/admin/users/{id}/unlock", May(P::UsersManage), admin::users::unlock)
        .post("/admin/users/{id}/sign-out", May(P::UsersManage), admin::users::sign_out)
        .get("/admin/models", May(P::ModelsManage), admin::models::page)
        .post("/admin/models", May(P::ModelsManage), admin::models::add)
        .post("/admin/models/default", May(P::ModelsManage), admin::models::set_default)
        .post("/admin/models/upstreams/{id}/test", May(P::ModelsManage), admin::models::test)
        .post("/admin/models/upstreams/{id}/enable", May(P::ModelsManage), admin::models::enable_upstream)
        .post("/admin/models/upstreams/{id}/disable", May(P::ModelsManage), admin::models::disable_upstream)
        .post("/admin/models/upstreams/{id}/remove", May(P::ModelsManage), admin::models::remove_upstream)
        .post("/admin/models/enable", May(P::ModelsManage), admin::models::enable_model)
        .post("/admin/models/disable", May(P::ModelsManage), admin::models::disable_model)
        .get("/admin/errors", May(P::ErrorsRead), admin::errors::page)
        .get("/admin/settings", May(P::SettingsManage), admin::settings::page)
        .post("/admin/settings/sign-up", May(P::SettingsManage), admin::settings::save_sign_up)
        .post("/admin/settings/general", May(P::SettingsManage), admin::settings::save_general)
        // JSON
        .post("/assign_role_to_user", May(P::RolesManage), api::assign_role)
        .get("/api/v1/csrf", Public, api::csrf)
        .get("/api/v1/me", Member, api::me)
        .session(Session::Unasked)
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

/// A route as the matrix shows it.
#[derive(Clone, Debug)]
pub struct Route {
    pub method: Method,
    pub path: &'static str,
    pub guard: Guard,
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
        self.listed.push(Route { method, path, guard });
        self.next = Some(Pending {
            rule: Rule { route: path, guard, body: Body::Fields, session: Session::Used },
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
         tries every route as every kind of caller. Unsafe methods also need a form token and an own origin (SEC-83).\n\n\
         | method | path | guard | signed out | User | Admin |\n|---|---|---|---|---|---|\n",
    );
    for route in routes() {
        let [anon, user, admin] = callers(route.guard);
        out.push_str(&format!(
            "| {} | `{}` | {} | {anon} | {user} | {admin} |\n",
            route.method,
            route.path,
            route.guard.words()
        ));
    }
    out
}

/// What a person who is signed out, a User and an Admin get, by the built-in roles.
fn callers(guard: Guard) -> [&'static str; 3] {
    match guard {
        Public => ["yes", "yes", "yes"],
        SignedOut => ["yes", "to /chat", "to /chat"],
        Member => ["sign-in", "yes", "yes"],
        May(P::ChatUse | P::ApiKeysUse) => ["sign-in", "yes", "yes"],
        May(_) => ["sign-in", "no", "yes"],
    }
}
