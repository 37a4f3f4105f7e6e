//! The pages of accounts and second factors.
