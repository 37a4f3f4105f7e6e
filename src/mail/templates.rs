//! What the mails say: each as plain text and as HTML, with the same words and links.

use accounts::Mail;
use askama::Template;

/// Declares a mail: the struct of its text, the struct of its HTML, and the function that makes it.
macro_rules! mails {
    ($( $function:ident: $text:ident $text_path:literal, $html:ident $html_path:literal, $subject:literal; )+) => {
        $(
            #[derive(Template)]
            #[template(path = $text_path)]
            struct $text<'a> {
                site: &'a str,
                greeting: &'a str,
                link: &'a str,
            }

            #[derive(Template)]
            #[template(path = $html_path)]
            struct $html<'a> {
                site: &'a str,
                subject: &'a str,
                greeting: &'a str,
                link: &'a str,
            }

            pub fn $function(site: &str, to: &str, first_name: &str, link: &str) -> Mail {
                let site = &one_line(site);
                let greeting = &greeting(first_name);
                let subject = format!($subject, site = site);
                Mail {
                    kind: stringify!($function).to_owned(),
                    recipient: to.to_owned(),
                    text: rendered(&$text { site, greeting, link }),
                    html: rendered(&$html { site, subject: &subject, greeting, link }),
                    subject,
                }
            }
        )+
    };
}

mails! {
    verify_email: VerifyEmailText "mail/verify_email.txt", VerifyEmailHtml "mail/verify_email.html",
        "Confirm your address for {site}";
    welcome: WelcomeText "mail/welcome.txt", WelcomeHtml "mail/welcome.html",
        "Your account at {site} is ready";
    already_registered: AlreadyRegisteredText "mail/already_registered.txt",
        AlreadyRegisteredHtml "mail/already_registered.html",
        "You already have an account at {site}";
}

pub fn rendered(template: &impl Template) -> String {
    match template.render() {
        Ok(text) => text,
        Err(error) => unreachable!("writing to a string does not fail: {error}"),
    }
}

/// Whoever signs up with somebody else's address chooses the name in the mail to them: it must
/// not carry a message or an address of its own.
pub fn greeting(first_name: &str) -> String {
    let name = first_name.trim();
    let of_a_name = |c: char| c.is_alphabetic() || matches!(c, ' ' | '-' | '\'' | '’');
    if !name.is_empty() && name.chars().count() <= 40 && name.chars().all(of_a_name) {
        format!("Hello {name},")
    } else {
        "Hello,".to_owned()
    }
}

/// Without anything that could end a header.
pub fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINK: &str = "https://chat.example.org/verify-email/abc_-123";
    type Make = fn(&str, &str, &str, &str) -> Mail;
    const ALL: [Make; 3] = [verify_email, welcome, already_registered];

    #[test]
    fn every_mail_says_who_writes_what_to_do_and_what_if_it_was_not_you() {
        for make in ALL {
            let mail = make("Team <Chat>", "ann@example.org", "Ann Marie", LINK);
            assert!(mail.subject.contains("Team <Chat>"));
            for text in [&mail.text, &mail.html] {
                assert!(text.contains("Hello Ann Marie,") && text.contains(LINK), "{text}");
                assert!(text.contains("not you") || text.contains("You did not"), "{text}");
            }
            assert!(mail.text.contains("Team <Chat>"));
            assert!(!mail.html.contains("<Chat>"), "{}", mail.html);
            assert!(mail.text.lines().all(|line| line.len() <= 78), "{}", mail.text);
            // Nothing is loaded from anywhere when it is read.
            assert!(!mail.html.contains("<img") && !mail.html.contains("src="));
        }
    }

    #[test]
    fn a_name_cannot_carry_a_message() {
        for name in ["Win at http://evil.example", "evil.example", "", "a\nb", "<b>x</b>", &"x".repeat(41)] {
            assert_eq!(greeting(name), "Hello,", "{name}");
        }
        for name in ["Zoë", "Jean-Luc", "O’Neill", "李"] {
            assert_eq!(greeting(name), format!("Hello {name},"));
        }
    }

    #[test]
    fn a_site_name_cannot_add_a_header() {
        for make in ALL {
            let mail = make("Chat\r\nBcc: all@example.org", "ann@example.org", "Ann", LINK);
            assert!(!mail.subject.contains(['\r', '\n']), "{}", mail.subject);
        }
    }
}
