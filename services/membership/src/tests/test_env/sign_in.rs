//! Signing in with one-time codes.
use super::*;

impl TestEnv {
    pub(crate) async fn request_code(&self, phone: &str) -> Result<pb::RequestCodeResponse, Status> {
        let request = pb::RequestCodeRequest {
            request_id: self.act(),
            phone: phone.to_owned(),
            ..Default::default()
        };
        Ok(self.authentication().request_code(request).await?.into_inner())
    }

    /// The texts of the messages to an address, latest first.
    pub(crate) async fn messages(&self, recipient: &str) -> Vec<String> {
        let request = pb::ListOutboxMessagesRequest {
            recipient: recipient.to_owned(),
            ..Default::default()
        };
        let messages = self
            .operator()
            .list_outbox_messages(self.test_env.operator_request(request))
            .await
            .unwrap()
            .into_inner()
            .messages;
        messages.into_iter().map(|message| message.text).collect()
    }

    /// The latest code that was sent to an address.
    pub(crate) async fn code(&self, recipient: &str) -> String {
        let code = |text: String| {
            let mut words = text.split(|c: char| !c.is_ascii_digit());
            words.find(|word| word.len() == 6).map(str::to_owned)
        };
        self.messages(recipient).await.into_iter().find_map(code).unwrap()
    }

    pub(crate) async fn verify(&self, flow_id: &str, code: &str) -> Result<pb::VerifyCodeResponse, Status> {
        let request = pb::VerifyCodeRequest {
            flow_id: flow_id.to_owned(),
            code: code.to_owned(),
        };
        let verified = self.authentication().verify_code(request).await?.into_inner();
        self.proofs
            .lock()
            .unwrap()
            .insert(flow_id.to_owned(), verified.proof.clone());
        Ok(verified)
    }

    /// The proof of a flow; one that was never given if the flow was not verified.
    fn proof(&self, flow_id: &str) -> String {
        let known = self.proofs.lock().unwrap().get(flow_id).cloned();
        known.unwrap_or_else(|| "guessed".to_owned())
    }

    pub(crate) async fn start(
        &self,
        flow_id: &str,
        account_id: &str,
        full_name: &str,
    ) -> Result<Person, Status> {
        let new_account = (!full_name.is_empty()).then(|| pb::NewAccount {
            full_name: full_name.to_owned(),
        });
        let request = pb::StartSessionRequest {
            request_id: self.act(),
            flow_id: flow_id.to_owned(),
            account_id: account_id.to_owned(),
            new_account,
            proof: self.proof(flow_id),
        };
        let started = self.authentication().start_session(request).await?.into_inner();
        Ok(Person {
            account_id: started.account_id,
            session_id: started.session_id,
            refresh_token: started.refresh_token,
            token: started.access_token,
        })
    }

    /// Creates an account and signs it in.
    pub(crate) async fn newcomer(&self, phone: &str, full_name: &str) -> Person {
        let flow = self.request_code(phone).await.unwrap().flow_id;
        self.verify(&flow, &self.code(phone).await).await.unwrap();
        self.start(&flow, "", full_name).await.unwrap()
    }

    /// Signs a member in again after the access tokens have expired.
    pub(crate) async fn again(&self, member: &MemberSession, phone: &str) -> MemberSession {
        let flow = self.request_code(phone).await.unwrap().flow_id;
        self.verify(&flow, &self.code(phone).await).await.unwrap();
        let account_id = &member.person.account_id;
        let person = self.start(&flow, account_id, "").await.unwrap();
        self.member_session(org(1), person).await.unwrap()
    }
}
